#!/usr/bin/python3
"""Makes the golden files of this folder with PyTorch (Debian's python3-torch, 1.13), in double precision on the CPU.

    /usr/bin/python3 tests/golden/make_golden.py

Every number that goes in is a float32; what comes out is computed in float64 and stored as float32. The layers are
PyTorch's own (conv1d, conv_transpose1d, max_pool1d, ...), gradients are autograd's, steps torch.optim's: nothing here is
taken from cafx. Run twice, it writes the same bytes.
"""
import json
import os
import struct

import numpy as np
import torch
import torch.nn.functional as F

FOLDER = os.path.dirname(os.path.abspath(__file__))


def write_safetensors(name, tensors, metadata):
    header, blob = {"__metadata__": metadata}, b""
    for key in sorted(tensors):
        value = tensors[key]
        data = np.ascontiguousarray(value.detach().numpy() if torch.is_tensor(value) else value, dtype="<f4")
        header[key] = {"dtype": "F32", "shape": list(data.shape), "data_offsets": [len(blob), len(blob) + data.nbytes]}
        blob += data.tobytes()
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(FOLDER, name), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + blob)


class Random:
    """Float32 numbers, held as float64."""

    def __init__(self, seed):
        self.rng = np.random.RandomState(seed)

    def __call__(self, *shape, scale=1.0, offset=0.0):
        values = (offset + scale * self.rng.uniform(-1, 1, shape)).astype(np.float32)
        return torch.tensor(values.astype(np.float64), requires_grad=True)


def channels_last(x):  # (B,C,T) -> (B,T,C) and back
    return x.transpose(1, 2)


def act(x, name):
    return {"identity": lambda v: v, "relu": torch.relu, "tanh": torch.tanh,
            "softplus": lambda v: F.softplus(v, threshold=1e9)}[name](x)


def same(x, taps):  # (B,C,T): (taps-1)/2 rounded down on the left
    left = (taps - 1) // 2
    return F.pad(x, (left, taps - 1 - left))


def conv1d(x, weight, bias):  # (B,T) -> (B,T,C); weight (C,1,K)
    return channels_last(F.conv1d(same(x[:, None, :], weight.shape[2]), weight, bias))


def local_conv(x, weight, bias):  # (B,T,C); weight (C,1,K)
    return channels_last(F.conv1d(same(channels_last(x), weight.shape[2]), weight, bias, groups=weight.shape[0]))


def deconv(u, weight, bias, form):  # (B,T,C) -> (B,T); weight (C,1,K)
    taps, n = weight.shape[2], u.shape[1]
    if form == "correlate":
        return F.conv1d(same(channels_last(u), taps), weight.transpose(0, 1), bias)[:, 0]
    left = (taps - 1) // 2
    return F.conv_transpose1d(channels_last(u), weight)[:, 0, left:left + n] + bias


def max_pool(x, pool):
    z, index = F.max_pool1d(channels_last(x), pool, return_indices=True)
    return channels_last(z), channels_last(index)


def unpool(z, index, pool, form):
    if form == "hold":
        return z.repeat_interleave(pool, dim=1)
    return channels_last(F.max_unpool1d(channels_last(z), channels_last(index), pool))


def local_dense(x, weight, bias, activation):  # (B,I,C); weight (C,O,I)
    return act(torch.einsum("coi,bic->boc", weight, x) + bias.t(), activation)


def dense_time(x, weight, bias, activation):  # (B,I,C); weight (O,I)
    return act(channels_last(F.linear(channels_last(x), weight, bias)), activation)


def saaf(x, v, w, segments, lo, hi, scale, every_second, order):
    width = (float(np.float32(hi)) - float(np.float32(lo))) / segments
    y = v[-1] * x
    if len(v) == 2:
        y = y + v[0]
    for row in range(len(w)):
        a = float(np.float32(lo)) + (2 * row if every_second else row) * width
        inside = torch.clamp(x - a, 0, width)
        above = torch.relu(x - a - width)
        y = y + float(np.float32(scale)) * w[row] * (inside ** 2 / 2 + width * above if order == 2 else inside)
    return y


def gradients(out, y, inputs, dy, prefix):
    """Stores inputs, y, dy and d(dot(y, dy)) / d(input)."""
    for value, (key, tensor) in zip(torch.autograd.grad((y * dy).sum(), list(inputs.values())), inputs.items()):
        out[prefix + key] = tensor
        out[prefix + "d" + key] = value
    out[prefix + "y"] = y
    out[prefix + "dy"] = dy


def make_ops():
    r, out = Random(1), {}
    a = dict(x=r(2, 17), w=r(3, 1, 6), bias=r(3))
    gradients(out, conv1d(a["x"], a["w"], a["bias"]), a, r(2, 17, 3), "conv1d.")
    a = dict(x=r(2, 17, 3), w=r(3, 1, 6), bias=r(3))
    gradients(out, local_conv(a["x"], a["w"], a["bias"]), a, r(2, 17, 3), "local_conv.")
    for form in ("adjoint", "correlate"):
        for taps in (5, 6):
            a = dict(u=r(2, 17, 3), w=r(3, 1, taps), bias=r(1))
            gradients(out, deconv(a["u"], a["w"], a["bias"], form), a, r(2, 17), "deconv1d.%s%d." % (form, taps))
    for name in ("identity", "relu", "tanh", "softplus"):
        a = dict(x=r(37, scale=4))
        gradients(out, act(a["x"], name), a, r(37), "activation.%s." % name)
        a = dict(x=r(17, 5), w=r(3, 5), bias=r(3))
        gradients(out, act(F.linear(a["x"], a["w"], a["bias"]), name), a, r(17, 3), "dense.%s." % name)
        a = dict(x=r(2, 7, 3), w=r(5, 7), bias=r(5))
        gradients(out, dense_time(a["x"], a["w"], a["bias"], name), a, r(2, 5, 3), "dense_time.%s." % name)
        a = dict(x=r(2, 7, 3), w=r(3, 5, 7), bias=r(3, 5))
        gradients(out, local_dense(a["x"], a["w"], a["bias"], name), a, r(2, 5, 3), "local_dense.%s." % name)
    a = dict(x=r(37))
    gradients(out, a["x"].abs(), a, r(37), "abs.")
    a = dict(a=r(37), b=r(37))
    gradients(out, a["a"] * a["b"], a, r(37), "multiply.")
    a = dict(x=r(2, 20, 3))
    z, index = max_pool(a["x"], 5)
    gradients(out, z, a, r(2, 4, 3), "max_pool.")
    out["max_pool.positions"] = (index % 5).double()
    for form in ("positions", "hold"):
        a = dict(z=r(2, 4, 3))
        gradients(out, unpool(a["z"], index, 5, form), a, r(2, 20, 3), "unpool.%s." % form)
    for order in (1, 2):
        for every_second in (False, True):
            for rows in (1, 2):
                a = dict(x=r(2, 17, 3), v=r(rows, 3), w=r(3 if every_second else 5, 3))
                y = saaf(a["x"], a["v"], a["w"], 5, -0.7, 0.6, 1.5, every_second, order)
                gradients(out, y, a, r(2, 17, 3), "saaf.%d.%d.%d." % (order, every_second, rows))
    y, target = r(3, 17), r(3, 17)
    loss = F.l1_loss(y, target)
    out.update({"mae.y": y, "mae.target": target, "mae.loss": loss[None], "mae.dy": torch.autograd.grad(loss, y)[0]})
    for name, decay in (("adam", 0.0), ("adamw", 0.1)):
        p = r(37)
        out[name + ".params"] = p.detach().clone()
        optimizer = torch.optim.AdamW([p], lr=1e-2, weight_decay=decay)
        grads = []
        for step in range(10):
            p.grad = r(37, scale=0.1).detach()
            grads.append(p.grad.clone())
            optimizer.step()
        out[name + ".grads"] = torch.stack(grads)
        out[name + ".after"] = p
    write_safetensors("ops.safetensors", out, {"precision": "float64, stored as float32", "torch": torch.__version__})


PAPER = dict(frame=64, filters=6, taps=8, local_taps=10, pool=4, latent=7, dnn=[6, 5, 5, 6], activation="softplus",
             unpool="positions", deconv="adjoint", saaf=True, saaf_segments=25, saaf_order=2, saaf_lo=-1.0, saaf_hi=1.0,
             saaf_every_second=False, saaf_has_v0=True, saaf_scale=1.0, saaf_l2=0.01)
JOURNAL = dict(PAPER, dnn=[6, 5, 5, 5, 6], activation="relu", unpool="hold", deconv="correlate", saaf_segments=24,
               saaf_lo=-0.2, saaf_hi=0.2, saaf_every_second=True, saaf_has_v0=False, saaf_scale=100.0, saaf_l2=1e-4)
ODD = dict(PAPER, frame=15, filters=3, taps=5, local_taps=7, pool=5, latent=4, dnn=[5, 3], activation="tanh",
           unpool="hold", saaf_segments=5, saaf_order=1, saaf_every_second=True)
DEFAULT = dict(PAPER, filters=17, dnn=[18, 9, 33, 17], activation="relu", unpool="hold", saaf_segments=24)
DENSE = dict(DEFAULT, filters=5, dnn=[6, 5], latent_layer="dense")
PLAIN = dict(PAPER, unpool="hold", activation="relu", dnn=[6], saaf=False)
EQ_NET = dict(PAPER, filters=5, dnn=[], saaf=False)  # CAFx without DNN-SAAF


def make_params(c, seed):
    r, p = Random(seed), {}
    n, filters = c["frame"] // c["pool"], c["filters"]

    def layer(name, *shape, fan_in):
        p[name + ".weight"] = r(*shape, scale=(3.0 / fan_in) ** 0.5)
        bias = (shape[0], shape[1]) if name == "local_dense" else (shape[0],)
        p[name + ".bias"] = r(*bias, scale=0.2)

    layer("conv1d", filters, 1, c["taps"], fan_in=c["taps"])
    layer("local_conv", filters, 1, c["local_taps"], fan_in=c["local_taps"])
    if c.get("latent_layer") == "dense":
        layer("latent_dense", c["latent"], n, fan_in=n)
    else:
        layer("local_dense", filters, c["latent"], n, fan_in=n)
    layer("dense", n, c["latent"], fan_in=c["latent"])
    width = filters
    for i, out in enumerate(c["dnn"]):
        layer("dnn.%d" % i, out, width, fan_in=width)
        width = out
    if c["saaf"]:
        curved = (c["saaf_segments"] + 1) // 2 if c["saaf_every_second"] else c["saaf_segments"]
        p["saaf.v"] = r(2 if c["saaf_has_v0"] else 1, filters, scale=0.3)
        p["saaf.w"] = r(curved, filters, scale=1.0 if c["saaf_scale"] == 1 else 0.05)
    p["deconv.bias"] = r(1, scale=0.1)
    return p


def forward(c, p, x, supervised):
    x1 = conv1d(x, p["conv1d.weight"], p["conv1d.bias"])
    x2 = act(local_conv(x1.abs(), p["local_conv.weight"], p["local_conv.bias"]), "softplus")
    z, index = max_pool(x2, c["pool"])
    if not supervised:
        return deconv(unpool(z, index, c["pool"], "positions") * x1, p["conv1d.weight"], p["deconv.bias"], c["deconv"])
    if c.get("latent_layer") == "dense":
        z = dense_time(z, p["latent_dense.weight"], p["latent_dense.bias"], "softplus")
    else:
        z = local_dense(z, p["local_dense.weight"], p["local_dense.bias"], "softplus")
    z = dense_time(z, p["dense.weight"], p["dense.bias"], "softplus")
    h = unpool(z, index, c["pool"], c["unpool"]) * x1
    last = len(c["dnn"]) - 1
    for i in range(last + 1):
        h = act(F.linear(h, p["dnn.%d.weight" % i], p["dnn.%d.bias" % i]), c["activation"] if i < last else "identity")
    if c["saaf"]:
        h = saaf(h, p["saaf.v"], p["saaf.w"], c["saaf_segments"], c["saaf_lo"], c["saaf_hi"], c["saaf_scale"],
                 c["saaf_every_second"], c["saaf_order"])
    return deconv(h, p["conv1d.weight"], p["deconv.bias"], c["deconv"])


def make_model(name, c, seed):
    r, out = Random(seed + 1), {}
    x, target = r(3, c["frame"]).detach(), r(3, c["frame"]).detach()
    out["x"], out["target"] = x, target
    for form in ("supervised", "pretrain"):
        supervised = form == "supervised"
        p = make_params(c, seed)
        if not supervised:
            p = {key: p[key] for key in p if key.startswith(("conv1d", "local_conv", "deconv"))}
        for key, value in p.items():
            out["param." + key] = value.detach().clone()
        # The pretrained form learns to give back what it hears, dry and wet.
        heard = x if supervised else torch.cat([x, target])
        wanted = target if supervised else heard

        def losses():
            y = forward(c, p, heard, supervised)
            mae = F.l1_loss(y, wanted)
            l2 = sum((p[k] ** 2).sum() for k in ("saaf.v", "saaf.w") if k in p) * c["saaf_l2"]
            return y, mae, mae + l2

        y, mae, total = losses()
        out[form + ".y"] = y
        for value, key in zip(torch.autograd.grad(total, list(p.values())), p):
            out[form + ".grad." + key] = value
        optimizer, trace = torch.optim.Adam(list(p.values()), lr=1e-3), []
        for _ in range(10):
            optimizer.zero_grad()
            _, mae, total = losses()
            trace.append(mae.item())
            total.backward()
            optimizer.step()
        trace.append(losses()[1].item())
        out[form + ".losses"] = np.array(trace)
    write_safetensors("%s.safetensors" % name, out, {
        "config": json.dumps(c, sort_keys=True), "precision": "float64, stored as float32", "torch": torch.__version__})


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_ops()
    make_model("cafx_paper", PAPER, 10)
    make_model("cafx_journal", JOURNAL, 21)
    make_model("cafx_odd", ODD, 30)
    make_model("cafx_default", DEFAULT, 40)
    make_model("cafx_plain", PLAIN, 50)
    make_model("cafx_dense", DENSE, 60)
    make_model("eq_net", EQ_NET, 70)
