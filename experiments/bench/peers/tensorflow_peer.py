"""CAFx in TensorFlow, as a graph and by XLA: tensorflow_peer.py CASE THREADS LOSSES (peer.py)."""
import sys

import tensorflow as tf

from peer import case_from_arguments, serve

case = case_from_arguments()
tf.config.threading.set_intra_op_parallelism_threads(case.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
c = case.c
C, K, K2, P, T = c["filters"], c["taps"], c["local_taps"], c["pool"], c["frame"]
LEFT, LEFT2 = (K - 1) // 2, (K2 - 1) // 2
ACTIVATION = {"relu": tf.nn.relu, "tanh": tf.tanh, "softplus": tf.nn.softplus, "identity": lambda x: x}[c["activation"]]


def saaf(x, v, w, how):
    lo, S = c["saaf.lo"], c["saaf.segments"]
    D = (c["saaf.hi"] - lo) / S
    if how == "basis":
        y = v[0] + v[1] * x
        for s in range(S):
            t = tf.clip_by_value(x - (lo + s * D), 0.0, D)
            y = y + w[s] * (0.5 * t * t + D * tf.nn.relu(x - (lo + (s + 1) * D)))
        return y
    slope = tf.concat([v[1:2], v[1:2] + tf.cumsum(w, 0) * D], 0)
    value = v[0] + v[1] * lo + tf.concat([tf.zeros_like(v[:1]), tf.cumsum((slope[:-1] + slope[1:]) * D / 2, 0)], 0)
    fixed = tf.stop_gradient(x)
    k = tf.cast(tf.clip_by_value(tf.floor((fixed - lo) / D), 0.0, float(S)), tf.int32)
    t = x - (lo + tf.cast(k, tf.float32) * D)
    at = k * C + tf.range(C)
    take = lambda table: tf.gather(tf.reshape(table, [-1]), at)
    return take(value) + t * (take(slope) + t * (0.5 * tf.cast(fixed >= lo, tf.float32) * take(tf.concat([w, tf.zeros_like(w[:1])], 0))))


def forward(p, x, kind, curve):  # (B,T)
    B = x.shape[0]
    w1 = p["conv1d.weight"][:, 0]  # (C,K)
    x1 = tf.nn.conv1d(tf.pad(x, [[0, 0], [LEFT, K - 1 - LEFT]])[..., None], tf.transpose(w1)[:, None], 1, "VALID") + p["conv1d.bias"]
    padded = tf.pad(tf.abs(x1), [[0, 0], [LEFT2, K2 - 1 - LEFT2], [0, 0]])[:, None]
    x2 = tf.nn.depthwise_conv2d(padded, tf.transpose(p["local_conv.weight"][:, 0])[None, :, :, None], [1, 1, 1, 1], "VALID")[:, 0]
    x2 = tf.reshape(tf.nn.softplus(x2 + p["local_conv.bias"]), [B, T // P, P, C])
    z = tf.reduce_max(x2, 2)
    if kind == "pretrain":
        at = tf.one_hot(tf.stop_gradient(tf.argmax(x2, 2)), P, axis=2)
        u = tf.reshape(at * z[:, :, None], [B, T, C]) * x1
    else:
        h = tf.nn.softplus(tf.matmul(tf.transpose(z, [2, 0, 1]), p["local_dense.weight"], transpose_b=True) + p["local_dense.bias"][:, None])
        z = tf.nn.softplus(tf.matmul(h, p["dense.weight"], transpose_b=True) + p["dense.bias"])  # (C,B,T/P)
        u = tf.repeat(tf.transpose(z, [1, 2, 0]), P, 1) * x1
        n = len(c["dnn"])
        u = tf.reshape(u, [B * T, C])
        for l in range(n):
            u = tf.matmul(u, p[f"dnn.{l}.weight"], transpose_b=True) + p[f"dnn.{l}.bias"]
            u = ACTIVATION(u) if l < n - 1 else u
        if c["saaf.enabled"]:
            u = saaf(u, p["saaf.v"], p["saaf.w"], curve)
        u = tf.reshape(u, [B, T, C])
    u = tf.pad(u, [[0, 0], [K - 1 - LEFT, LEFT], [0, 0]])
    return tf.nn.conv1d(u, tf.transpose(tf.reverse(w1, [1]))[:, :, None], 1, "VALID")[..., 0] + p["deconv.bias"]


def way(curve, xla):
    def make(kind):
        if kind == "pretrain" and curve == "gather":
            return None
        p = {n: tf.Variable(case.tensors[n]) for n in case.names(kind)}
        x = tf.constant(case.input)
        target = x if kind == "pretrain" else tf.constant(case.target)
        if kind == "render":
            run = tf.function(lambda: forward(p, x, kind, curve), jit_compile=xla)
            return lambda: run().numpy(), float(tf.reduce_mean(tf.abs(run() - target)))
        m, v = ({n: tf.Variable(tf.zeros_like(a)) for n, a in p.items()} for _ in range(2))
        t = tf.Variable(0.0)

        @tf.function(jit_compile=xla)
        def run():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.abs(forward(p, x, kind, curve) - target))
            g = tape.gradient(loss, p)
            t.assign_add(1.0)
            for n in p:
                m[n].assign(0.9 * m[n] + 0.1 * g[n])
                v[n].assign(0.999 * v[n] + 0.001 * g[n] * g[n])
                p[n].assign_sub(1e-6 * (m[n] / (1 - 0.9 ** t)) / (tf.sqrt(v[n] / (1 - 0.999 ** t)) + 1e-8))
            return loss
        step = lambda: float(run())
        return step, step()
    return make


ways = {"graph, SAAF by basis": way("basis", False), "graph, SAAF by gather": way("gather", False), "XLA, SAAF by basis": way("basis", True)}
serve("TensorFlow", tf.__version__, f"Python {sys.version.split()[0]}, {case.threads} threads", ways, case)
