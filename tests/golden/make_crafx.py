#!/usr/bin/python3
"""Makes crafx_published.safetensors and crafx_variant.safetensors with PyTorch (Debian's python3-torch, 1.13), in double
precision on the CPU.

    /usr/bin/python3 tests/golden/make_crafx.py

The layers of make_golden.py, PyTorch's own LSTM for the layers with tanh, and the equations of Keras's
LSTM(activation='linear') for the last one, which PyTorch lacks. Run twice, it writes the same bytes.
"""
import json

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import Random, act, conv1d, deconv, local_conv, max_pool, saaf, unpool, write_safetensors

# The published model's structure at a tenth of its sizes.
PUBLISHED = dict(frame=64, before=4, after=4, context_hop=32, filters=6, taps=8, local_taps=10, pool=4, lstm=[12, 6, 3],
                 dnn=[6, 3, 3, 6], activation="tanh", excite=24, unpool="hold", deconv="correlate", saaf_segments=24,
                 saaf_order=2, saaf_lo=-0.2, saaf_hi=0.2, saaf_every_second=True, saaf_has_v0=False, saaf_scale=100.0,
                 saaf_l2=1e-4)
# Every choice the other way, odd sizes.
VARIANT = dict(frame=15, before=2, after=0, context_hop=7, filters=4, taps=5, local_taps=7, pool=5, lstm=[5, 2],
               dnn=[7, 4], activation="softplus", excite=3, unpool="positions", deconv="adjoint", saaf_segments=5,
               saaf_order=1, saaf_lo=-1.0, saaf_hi=1.0, saaf_every_second=False, saaf_has_v0=True, saaf_scale=1.0,
               saaf_l2=0.01)
FRONT_END = ("conv1d", "local_conv", "deconv")
PLACES = 3


def make_params(c, seed):
    r, p = Random(seed), {}
    filters = c["filters"]

    def layer(name, *shape, fan_in, bias=0.2):
        p[name + ".weight"] = r(*shape, scale=(3.0 / fan_in) ** 0.5)
        p[name + ".bias"] = r(shape[0], scale=bias)

    layer("conv1d", filters, 1, c["taps"], fan_in=c["taps"])
    layer("local_conv", filters, 1, c["local_taps"], fan_in=c["local_taps"])
    p["deconv.bias"] = r(1, scale=0.1)
    width = filters
    for i, out in enumerate(c["dnn"]):
        layer("dnn.%d" % i, out, width, fan_in=width)
        width = out
    curved = (c["saaf_segments"] + 1) // 2 if c["saaf_every_second"] else c["saaf_segments"]

    def curves(name):
        p[name + ".v"] = r(2 if c["saaf_has_v0"] else 1, filters, scale=0.3, offset=0.4)
        p[name + ".w"] = r(curved, filters, scale=1.0 if c["saaf_scale"] == 1 else 0.05)

    curves("saaf")
    width = (c["before"] + 1 + c["after"]) * filters
    for i, units in enumerate(c["lstm"]):
        for direction in ("", ".reverse"):
            layer("lstm.%d%s" % (i, direction), 4 * units, width + units, fan_in=width + units)
        width = 2 * units
    curves("latent_saaf")
    layer("excite.0", c["excite"], filters, fan_in=filters)
    layer("excite.1", filters, c["excite"], fan_in=c["excite"])
    return p


def linear_lstm(x, w, bias):  # x (T,B,I) -> h (T,B,H); the identity stands for both tanh
    units = len(bias) // 4
    h = c = torch.zeros(x.shape[1], units, dtype=x.dtype)
    rows = []
    for row in x:
        i, f, g, o = (torch.cat([row, h], 1) @ w.t() + bias).split(units, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * g
        h = torch.sigmoid(o) * c
        rows.append(h)
    return torch.stack(rows)


def bilstm(x, p, name, linear):  # (T,B,I) -> (T,B,2H)
    tensors = [(p[name + d + ".weight"], p[name + d + ".bias"]) for d in ("", ".reverse")]
    if linear:
        forward, backward = linear_lstm(x, *tensors[0]), linear_lstm(x.flip(0), *tensors[1]).flip(0)
        return torch.cat([forward, backward], 2)
    units, inputs = len(tensors[0][1]) // 4, x.shape[2]
    flat = []
    for w, bias in tensors:
        flat += [w[:, :inputs].contiguous(), w[:, inputs:].contiguous(), bias, torch.zeros_like(bias)]
    rest = torch.zeros(2, x.shape[1], units, dtype=x.dtype)
    return torch._VF.lstm(x, (rest, rest), flat, True, 1, 0.0, False, True, False)[0]


def front_end(c, p, x):
    x1 = conv1d(x, p["conv1d.weight"], p["conv1d.bias"])
    x2 = act(local_conv(x1.abs(), p["local_conv.weight"], p["local_conv.bias"]), "softplus")
    return (x1,) + max_pool(x2, c["pool"])


def forward(c, p, x, supervised):  # x (B,span) -> (B,frame)
    frames = [x[:, k * c["context_hop"]:][:, :c["frame"]] for k in range(c["before"] + 1 + c["after"])]
    x1, z, index = front_end(c, p, frames[c["before"]])
    if not supervised:
        return deconv(unpool(z, index, c["pool"], "positions") * x1, p["conv1d.weight"], p["deconv.bias"], c["deconv"])

    def curve(v, name):
        return saaf(v, p[name + ".v"], p[name + ".w"], c["saaf_segments"], c["saaf_lo"], c["saaf_hi"], c["saaf_scale"],
                    c["saaf_every_second"], c["saaf_order"])

    rows = torch.cat([front_end(c, p, f)[1] for f in frames], 2).transpose(0, 1)  # (N,B,F C)
    for i in range(len(c["lstm"])):
        rows = bilstm(rows, p, "lstm.%d" % i, i + 1 == len(c["lstm"]))
    zhat = curve(rows.transpose(0, 1), "latent_saaf")
    u = unpool(zhat, index, c["pool"], c["unpool"]) * x1
    v = u
    for i in range(len(c["dnn"])):
        last = i + 1 == len(c["dnn"])
        v = act(F.linear(v, p["dnn.%d.weight" % i], p["dnn.%d.bias" % i]), "identity" if last else c["activation"])
    v = curve(v, "saaf")
    gain = F.linear(v.abs().mean(1), p["excite.0.weight"], p["excite.0.bias"])
    gain = torch.sigmoid(F.linear(torch.relu(gain), p["excite.1.weight"], p["excite.1.bias"]))
    return deconv(u + gain[:, None] * v, p["conv1d.weight"], p["deconv.bias"], c["deconv"])


def make(name, c, seed):
    r, out = Random(seed + 1), {}
    span = c["frame"] + (c["before"] + c["after"]) * c["context_hop"]
    own = slice(c["before"] * c["context_hop"], c["before"] * c["context_hop"] + c["frame"])
    x, target = r(PLACES, span).detach(), r(PLACES, c["frame"]).detach()
    out["x"], out["target"] = x, target
    for form in ("supervised", "pretrain"):
        supervised = form == "supervised"
        p = make_params(c, seed)
        if not supervised:
            p = {key: p[key] for key in p if key.startswith(FRONT_END)}
        for key, value in p.items():
            out["param." + key] = value.detach().clone()
        wanted = target if supervised else x[:, own]

        def losses():
            y = forward(c, p, x, supervised)
            mae = F.l1_loss(y, wanted)
            l2 = sum((p[k] ** 2).sum() for k in p if "saaf." in k) * c["saaf_l2"]
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
        print(name, form, trace[0], trace[-1])
    write_safetensors("%s.safetensors" % name, out, {
        "config": json.dumps(c, sort_keys=True), "precision": "float64, stored as float32", "torch": torch.__version__})


if __name__ == "__main__":
    torch.set_num_threads(1)
    make("crafx_published", PUBLISHED, 80)
    make("crafx_variant", VARIANT, 90)
