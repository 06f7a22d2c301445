"""CAFx in JAX, jitted: jax_peer.py CASE THREADS LOSSES (peer.py)."""
import os
import sys

import jax
import jax.numpy as jnp

from peer import case_from_arguments, serve

case = case_from_arguments()
c = case.c
C, K, K2, P, T = c["filters"], c["taps"], c["local_taps"], c["pool"], c["frame"]
LEFT, LEFT2 = (K - 1) // 2, (K2 - 1) // 2
ACTIVATION = {"relu": jax.nn.relu, "tanh": jnp.tanh, "softplus": jax.nn.softplus, "identity": lambda x: x}[c["activation"]]


def convolve(x, w, padding, groups=1):  # (B,T,in), w (K,in / groups,out)
    return jax.lax.conv_general_dilated(x, w, (1,), [padding], dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=groups)


def saaf(x, v, w, how):
    lo, S = c["saaf.lo"], c["saaf.segments"]
    D = (c["saaf.hi"] - lo) / S
    if how == "basis":
        y = v[0] + v[1] * x
        for s in range(S):
            t = jnp.clip(x - (lo + s * D), 0, D)
            y = y + w[s] * (0.5 * t * t + D * jax.nn.relu(x - (lo + (s + 1) * D)))
        return y
    slope = jnp.concatenate([v[1:2], v[1:2] + jnp.cumsum(w, 0) * D])
    value = v[0] + v[1] * lo + jnp.concatenate([jnp.zeros_like(v[:1]), jnp.cumsum((slope[:-1] + slope[1:]) * D / 2, 0)])
    fixed = jax.lax.stop_gradient(x)
    k = jnp.clip(jnp.floor((fixed - lo) / D), 0, S).astype(jnp.int32)
    t = x - (lo + k * D)
    channel = jnp.arange(C)
    return value[k, channel] + t * (slope[k, channel] + t * (0.5 * (fixed >= lo) * jnp.concatenate([w, jnp.zeros_like(w[:1])])[k, channel]))


def forward(p, x, kind, local, curve):  # (B,T)
    B = x.shape[0]
    w1 = p["conv1d.weight"][:, 0]  # (C,K)
    x1 = convolve(x[..., None], w1.T[:, None], (LEFT, K - 1 - LEFT)) + p["conv1d.bias"]
    w2 = p["local_conv.weight"][:, 0].T  # (K2,C)
    if local == "conv":
        x2 = convolve(jnp.abs(x1), w2[:, None], (LEFT2, K2 - 1 - LEFT2), C)
    else:  # a sum of shifted products, for the compiler to fuse
        padded = jnp.pad(jnp.abs(x1), ((0, 0), (LEFT2, K2 - 1 - LEFT2), (0, 0)))
        x2 = sum(padded[:, k:k + T] * w2[k] for k in range(K2))
    x2 = jax.nn.softplus(x2 + p["local_conv.bias"]).reshape(B, T // P, P, C)
    z = x2.max(2)
    if kind == "pretrain":
        at = jax.lax.stop_gradient(jnp.argmax(x2, 2))
        u = (jax.nn.one_hot(at, P, axis=2) * z[:, :, None]).reshape(B, T, C) * x1
    else:
        h = jax.nn.softplus(jnp.einsum("bic,coi->cbo", z, p["local_dense.weight"]) + p["local_dense.bias"][:, None])
        z = jax.nn.softplus(jnp.einsum("cbo,po->bpc", h, p["dense.weight"]) + p["dense.bias"][:, None])
        u = jnp.repeat(z, P, 1) * x1
        n = len(c["dnn"])
        for l in range(n):
            u = u @ p[f"dnn.{l}.weight"].T + p[f"dnn.{l}.bias"]
            u = ACTIVATION(u) if l < n - 1 else u
        if c["saaf.enabled"]:
            u = saaf(u, p["saaf.v"], p["saaf.w"], curve)
    return convolve(u, w1[:, ::-1].T[:, :, None], (K - 1 - LEFT, LEFT))[..., 0] + p["deconv.bias"]


def way(local, curve):
    def make(kind):
        if kind == "pretrain" and curve == "basis":
            return None
        p = {n: jnp.asarray(case.tensors[n]) for n in case.names(kind)}
        x = jnp.asarray(case.input)
        target = x if kind == "pretrain" else jnp.asarray(case.target)
        loss = lambda p: jnp.mean(jnp.abs(forward(p, x, kind, local, curve) - target))
        if kind == "render":
            run = jax.jit(lambda p, x: forward(p, x, kind, local, curve))
            return lambda: run(p, x).block_until_ready(), float(jnp.mean(jnp.abs(run(p, x) - target)))

        def adam(p, m, v, t):
            value, g = jax.value_and_grad(loss)(p)
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            p = jax.tree.map(lambda p, m, v: p - 1e-6 * (m / (1 - 0.9 ** t)) / (jnp.sqrt(v / (1 - 0.999 ** t)) + 1e-8), p, m, v)
            return p, m, v, t + 1, value
        run = jax.jit(adam, donate_argnums=(0, 1, 2))
        zeros = lambda: {n: jnp.zeros_like(a) for n, a in p.items()}
        state = [p, zeros(), zeros(), jnp.float32(1)]

        def step():
            *state[:], value = run(*state)
            return float(value)
        return step, step()
    return make


ways = {"channels last, grouped convolution, SAAF by gather": way("conv", "gather"), "channels last, grouped convolution, SAAF by basis": way("conv", "basis"),
        "channels last, sum of taps, SAAF by basis": way("taps", "basis"), "channels last, sum of taps": way("taps", "gather")}
serve("JAX", jax.__version__, f"Python {sys.version.split()[0]}, jit, {jax.devices()[0].device_kind}, {len(os.sched_getaffinity(0))} threads", ways, case)
