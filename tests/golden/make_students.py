#!/usr/bin/python3
"""Makes students.safetensors with PyTorch (Debian's python3-torch, 1.13), in double precision on the CPU.

    /usr/bin/python3 tests/golden/make_students.py

As make_golden.py: float32 in, computed in float64, stored as float32; torch.nn.LSTM, autograd's gradients.
"""
import json

import torch
import torch.nn.functional as F

from make_golden import Random, write_safetensors


PRE_EMPHASIS, ENERGY_FLOOR, MEAN_ENERGY = 0.85, 0.1, 0.7
LOSS = dict(pre_emphasis=PRE_EMPHASIS, energy_floor=ENERGY_FLOOR, mean_energy=MEAN_ENERGY)


def emphasised(x):
    return x - PRE_EMPHASIS * F.pad(x, (1, 0))[:, :-1]


def relative_error(y, block, target):
    """Mean of p^2 over a block, each segment's relative to the mean energy of its whole target."""
    energy = (emphasised(target) ** 2).mean(dim=1) + (ENERGY_FLOOR + 1e-6) * MEAN_ENERGY
    return (emphasised(y - block) ** 2 / energy[:, None]).mean()


def make_lstm(out, hidden, layers, seed):
    """Segments of a context and two blocks: the state goes on, gradients do not."""
    r, B, context, block = Random(seed), 11, 40, 70
    prefix = "lstm%d." % layers
    p = {}
    for layer in range(layers):
        inputs = 1 if layer == 0 else hidden
        p["lstm.%d.weight" % layer] = r(4 * hidden, inputs + hidden, scale=hidden ** -0.5)
        p["lstm.%d.bias" % layer] = r(4 * hidden, scale=hidden ** -0.5)
    p["head.weight"], p["head.bias"] = r(1, hidden, scale=hidden ** -0.5), r(1, scale=0.5)
    x, target = r(B, context + 2 * block).detach(), r(B, 2 * block).detach()

    def run(signal, state):
        flat = []
        for layer in range(layers):
            w, inputs = p["lstm.%d.weight" % layer], 1 if layer == 0 else hidden
            flat += [w[:, :inputs], w[:, inputs:], p["lstm.%d.bias" % layer], torch.zeros(4 * hidden, dtype=torch.float64)]
        h, hn, cn = torch._VF.lstm(signal[:, :, None], state, flat, True, layers, 0.0, False, False, True)
        return F.linear(h, p["head.weight"], p["head.bias"])[:, :, 0], (hn.detach(), cn.detach())

    for key, value in list(p.items()) + [("x", x), ("target", target)]:
        out[prefix + key] = value.detach().clone()
    zero = torch.zeros(layers, B, hidden, dtype=torch.float64)
    with torch.no_grad():
        _, state = run(x[:, :context], (zero, zero))
    for k in range(2):
        at = context + k * block
        y, state = run(x[:, at:at + block], state)
        loss = relative_error(y, target[:, k * block:(k + 1) * block], target)
        out[prefix + "loss.%d" % k] = loss.detach().reshape(1)
        for value, key in zip(torch.autograd.grad(loss, list(p.values())), p):
            out[prefix + "grad.%d.%s" % (k, key)] = value
    return {"hidden": hidden, "layers": layers, "context": context, "block": block, **LOSS}


def make_wavenet(out, name, c, seed):
    """Two blocks of segments, each looking back over the whole receptive field."""
    r, B, block = Random(seed), 5, 60
    prefix, K, p = name + ".", c["taps"], {}
    context = (K - 1) * sum(c["dilations"])
    n = len(c["channels"])
    for a, C in enumerate(c["channels"]):
        before, after = c["channels"][a - 1] if a else 1, c["channels"][a + 1] if a + 1 < n else 1
        Z, of_array = 2 * C if c["gated"] else C, "arrays.%d." % a
        p[of_array + "rechannel.weight"] = r(C, before)
        for l in range(c["layers"][a]):
            of_layer, scale = of_array + "layers.%d." % l, (C * K) ** -0.5
            p[of_layer + "conv.weight"], p[of_layer + "conv.bias"] = r(Z, C, K, scale=scale), r(Z, scale=scale)
            p[of_layer + "mixer.weight"] = r(Z, 1)
            p[of_layer + "dense.weight"], p[of_layer + "dense.bias"] = r(C, C, scale=C ** -0.5), r(C, scale=0.3)
        p[of_array + "head.weight"] = r(after, C)
    p["arrays.%d.head.bias" % (n - 1)] = r(1)
    x, target = r(B, context + 2 * block).detach(), r(B, 2 * block).detach()
    for key, value in list(p.items()) + [("x", x), ("target", target)]:
        out[prefix + key] = value.detach().clone()

    def run(signal):
        condition, head, dilation = signal[:, None, :], None, iter(c["dilations"])
        y = condition
        for a in range(n):
            of_array = "arrays.%d." % a
            y = F.conv1d(y, p[of_array + "rechannel.weight"][:, :, None])
            for l in range(c["layers"][a]):
                of_layer = of_array + "layers.%d." % l
                z = F.conv1d(y, p[of_layer + "conv.weight"], p[of_layer + "conv.bias"], dilation=next(dilation))
                length = z.shape[2]
                z = z + F.conv1d(condition[:, :, -length:], p[of_layer + "mixer.weight"][:, :, None])
                C = c["channels"][a]
                h = torch.tanh(z[:, :C]) * (torch.sigmoid(z[:, C:]) if c["gated"] else 1)
                y = y[:, :, -length:] + F.conv1d(h, p[of_layer + "dense.weight"][:, :, None], p[of_layer + "dense.bias"])
                head = h[:, :, -block:] if head is None else head[:, :, -block:] + h[:, :, -block:]
            head = F.conv1d(head, p[of_array + "head.weight"][:, :, None], p.get(of_array + "head.bias"))
        return c["head_scale"] * head[:, 0]

    for k in range(2):
        y = run(x[:, k * block:context + (k + 1) * block])
        loss = relative_error(y, target[:, k * block:(k + 1) * block], target)
        out[prefix + "loss.%d" % k] = loss.detach().reshape(1)
        for value, key in zip(torch.autograd.grad(loss, list(p.values()), allow_unused=True), p):
            # The last layer's 1x1 leads nowhere.
            out[prefix + "grad.%d.%s" % (k, key)] = torch.zeros_like(p[key]) if value is None else value
    return dict(c, context=context, block=block, **LOSS)


WAVENET = dict(channels=[16, 8], layers=[3, 3], dilations=[1, 2, 4, 1, 8, 16], taps=3, gated=False, head_scale=0.5)
GATED = dict(channels=[5, 3, 2], layers=[2, 2, 1], dilations=[1, 7, 3, 1, 20], taps=2, gated=True, head_scale=0.75)

if __name__ == "__main__":
    torch.set_num_threads(1)
    out, configs = {}, {}
    configs["lstm1"] = make_lstm(out, 24, 1, 100)
    configs["lstm2"] = make_lstm(out, 7, 2, 110)
    configs["wavenet"] = make_wavenet(out, "wavenet", WAVENET, 120)
    configs["gated"] = make_wavenet(out, "gated", GATED, 130)
    write_safetensors("students.safetensors", out, {
        "config": json.dumps(configs, sort_keys=True), "precision": "float64, stored as float32",
        "torch": torch.__version__})
