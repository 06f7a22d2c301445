"""Loads, runs and saves models of cafx, of every type: NumPy, or PyTorch with gradients. One file, to be copied anywhere.

    model = cafx.load("model.safetensors")           # what `cafx export` wrote
    y = cafx.render(model, model.config, x, hop=64)  # a whole signal (n) at its sample_rate, as `cafx render`
    y = model(x)                                     # NumPy: frames (B, frame) -> (B, frame), in float64
    net = cafx.torch_module(model)                   # a torch.nn.Module on (B, frame); state_dict() has the file's names
    cafx.save("again.safetensors", model.config, net.state_dict(), {"model": model.type})
    model.turn(gain=7.5, bright="on")                # of a model with knobs; at first they stand in the middle, a switch left

`cafx render again.safetensors in.wav out.wav` plays what Python saved. A type that plays sample by sample (lstm, wavenet,
s4) has signals (B, n) in place of frames, each after a long silence; a frame of crafx comes with its context, x is
(B, before * context_hop + frame + after * context_hop). README.md beside this file has the names and shapes."""
import json
import math
import re
from types import SimpleNamespace

import numpy as np


def read_safetensors(path):
    """(tensors, metadata) of a file of float32 tensors; ValueError where it is damaged, as the C++ reader refuses it."""
    def refuse(what):
        raise ValueError(f"{path}: is damaged or is no safetensors file: {what}")

    def no_key_twice(pairs):
        keys = [k for k, _ in pairs]
        for k in keys:
            if keys.count(k) > 1:
                refuse(f"'{k}' stands twice in its header")
        return dict(pairs)

    with open(path, "rb") as f:
        n, data = int.from_bytes(f.read(8), "little"), f.read()
    if n > min(len(data), 100_000_000) or data[:1] != b"{":
        refuse("its header does not fit the file")
    try:
        header = json.loads(data[:n], object_pairs_hook=no_key_twice)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        refuse("its header is not JSON")
    metadata, data, at, tensors = header.pop("__metadata__", {}), data[n:], 0, {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        refuse("its metadata is not text")
    whole = lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0
    for name, t in header.items():
        if not isinstance(t, dict) or set(t) != {"dtype", "shape", "data_offsets"} or t["dtype"] != "F32":
            refuse(f"tensor '{name}' is not described as one of F32")
        shape, offsets = t["shape"], t["data_offsets"]
        if not isinstance(shape, list) or not all(map(whole, shape)):
            refuse(f"tensor '{name}' has no shape")
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(whole, offsets)):
            refuse(f"tensor '{name}' has no data_offsets")
        if offsets[1] - offsets[0] != 4 * math.prod(shape):
            refuse(f"tensor '{name}' has data_offsets {offsets} that are not of its shape {shape}")
    for name, t in sorted(header.items(), key=lambda e: e[1]["data_offsets"]):
        if t["data_offsets"][0] != at:
            refuse(f"the data of tensor '{name}' begins at byte {t['data_offsets'][0]}, expected {at}")
        at = t["data_offsets"][1]
    if at != len(data):
        refuse(f"it has {len(data)} bytes of data, expected {at}")
    for name, t in header.items():
        tensors[name] = np.frombuffer(data[slice(*t["data_offsets"])], "<f4").reshape(t["shape"])
        if not np.isfinite(tensors[name]).all():
            refuse(f"tensor '{name}' holds values that are no numbers")
    return tensors, metadata


def load(path):
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != "cafx" or metadata.get("form") != "supervised":
        raise ValueError(f"{path}: is no trained model of cafx; give a file that `cafx export` wrote")
    if metadata.get("format_version", "1") != "1":
        raise ValueError(f"{path}: model format {metadata['format_version']} is not known, this file reads 1; use that of a newer cafx")
    try:
        config = json.loads(metadata.get("config", ""))
    except (json.JSONDecodeError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{path}: the config in its metadata is damaged")
    return Model(config, tensors, metadata)


def save(path, config, tensors, metadata=()):
    """config: as in load(path).config; what is missing is cafx's default. metadata's "model" names the type; cafx by default."""
    arrays = {n: np.ascontiguousarray(t.detach().cpu().numpy() if hasattr(t, "detach") else t, "<f4")
              for n, t in sorted(tensors.items())}
    about = {"format": "cafx", "format_version": "1", "model": dict(metadata).get("model", "cafx"), "form": "supervised"}
    header, at = {"__metadata__": {**dict(metadata), **about, "config": json.dumps(config)}}, 0
    header["__metadata__"].pop("checksum", None)  # of what was read, which may have changed
    for n, a in arrays.items():
        header[n] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in arrays.values()))


def controls(config, values):
    """The numbers that a model reads of its knobs at `values`: -1 to 1, a switch of more than two positions as one for each."""
    values, numbers = dict(values), []
    for text in config.get("knobs", []):
        name, what = (word.strip() for word in text.split(":", 1))
        value = values.pop(name, None)
        if "|" in what:
            positions = [word.strip() for word in what.split("|")]
            if value is not None and value not in positions:
                raise ValueError(f"{name} = {value} is none of {', '.join(positions)}")
            at = 0 if value is None else positions.index(value)
            numbers += [2 * at - 1] if len(positions) == 2 else [float(i == at) for i in range(len(positions))]
            continue
        lo, hi = what.split("..", 1)
        lo, hi = float(lo), float(re.match(r"\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?", hi)[0])  # a unit may follow
        value = (lo + hi) / 2 if value is None else float(value)
        if not min(lo, float(np.float32(lo))) <= value <= max(hi, float(np.float32(hi))):  # an end may come rounded to float32
            raise ValueError(f"{name} = {value} is out of its range, {lo} to {hi}")
        numbers.append(2 * (min(max(value, lo), hi) - lo) / (hi - lo) - 1)
    if values:
        raise ValueError(f"the model has no knob {', '.join(values)}")
    return numbers


class Model:
    def __init__(self, config, tensors, metadata=()):
        self.config, self.tensors, self.metadata = config, tensors, dict(metadata)
        self.type = self.metadata.get("model", "cafx")
        self.turn()

    def turn(self, **values):
        """Knobs to these values, those that are not named to where they stand at first."""
        self.controls = controls(self.config, values)

    def layers(self):
        """The class that has the forward pass of the model's type."""
        if self.type not in TYPES:
            raise ValueError(f"a model of type {self.type}: this file runs {', '.join(TYPES)}; use that of the cafx that made it")
        return TYPES[self.type]

    def __call__(self, x):
        p = {n: t.astype(np.float64) for n, t in self.tensors.items()}
        return self.layers()(self.config, p, np.array(self.controls), NUMPY).forward(np.asarray(x, np.float64))


# The layers of each type, in the words of models/*/. Channels stand before time.


class Layers:
    """c: the config. p: the tensors; at: where the knobs stand, as controls() says it: both of the kind of x. lib: what
    NumPy and PyTorch do differently."""

    def __init__(self, c, p, at, lib):
        self.c, self.p, self.at, self.lib = c, p, at, lib

    def linear(self, name, x, tensors=None):  # x (..., in, T) -> (..., out, T)
        p = tensors or self.p
        return p[name + ".weight"] @ x + p[name + ".bias"][:, None]

    def modulation(self, film="film"):
        """FiLM: what the knobs make of scales and shifts."""
        p, hidden = self.p, self.lib.tanh(self.p["knobs.weight"] @ self.at + self.p["knobs.bias"])
        return p[film + ".weight"] @ hidden + p[film + ".bias"]

    def sigmoid(self, x):
        return 0.5 + 0.5 * self.lib.tanh(0.5 * x)


class Cafx(Layers):
    """cafx; and eq_net, which has neither dense layers of samples nor SAAFs. x, y (B,frame)."""

    def forward(self, x):
        c, p, lib = self.c, self.at_controls(), self.lib
        x1, z, first_max = self.front_end(x)
        if c.get("latent_layer", "local") == "local":
            h = lib.softplus(lib.einsum("coi,bci->bco", p["local_dense.weight"], z) + p["local_dense.bias"])
        else:
            h = lib.softplus(z @ p["latent_dense.weight"].T + p["latent_dense.bias"])
        u = self.unpool(lib.softplus(h @ p["dense.weight"].T + p["dense.bias"]), x1, first_max)
        return self.deconv(self.dnn_saaf(u, p))

    def at_controls(self):
        """The tensors where the knobs stand."""
        c, p, at = self.c, dict(self.p), self.at
        if len(at) > 0 and c.get("knob_layers", "film") == "latent":
            p["dense.bias"] = p["dense.bias"] + p["dense.knobs"] @ at
        elif len(at) > 0:
            film = self.modulation()
            for n, width in enumerate(c["dnn"]):
                scale, shift, film = 1 + film[:width], film[width:2 * width], film[2 * width:]
                p[f"dnn.{n}.weight"] = scale[:, None] * p[f"dnn.{n}.weight"]
                p[f"dnn.{n}.bias"] = scale * p[f"dnn.{n}.bias"] + shift
        return p

    def front_end(self, x):
        """x1 (B,C,T), z (B,C,T/P), and where in each window the maximum is (B,C,T/P,P)."""
        c, p, lib = self.c, self.p, self.lib
        x1 = lib.conv(x[:, None], p["conv1d.weight"], p["conv1d.bias"])
        x2 = lib.conv(abs(x1), p["local_conv.weight"], p["local_conv.bias"])
        windows = x2.reshape(*x2.shape[:2], -1, c["pool"])
        first_max = windows.argmax(-1)[..., None] == lib.arange(c["pool"])
        return x1, lib.softplus((windows * first_max).sum(-1)), first_max  # softplus rises: pooling before it is the same

    def unpool(self, up, x1, first_max):
        """up (B,C,T/P), each number for its window or where the maximum was, times x1."""
        up = up[..., None]
        if self.c["unpool"] == "positions":
            up = up * first_max
        return (x1.reshape(first_max.shape) * up).reshape(x1.shape)

    def dnn_saaf(self, u, p):
        c, dnn = self.c, self.c.get("dnn", [])
        for n in range(len(dnn)):
            u = self.linear(f"dnn.{n}", u, p)
            if n + 1 < len(dnn) and c["activation"] != "identity":
                u = getattr(self.lib, c["activation"])(u)
        return saaf(u, c, p["saaf.v"], p["saaf.w"], self.lib) if "saaf.v" in p else u

    def deconv(self, u):
        return self.lib.deconv(u, self.p["conv1d.weight"], self.p["deconv.bias"], self.c.get("deconv", "adjoint"))


class Crafx(Cafx):
    """x (B,span): each frame with its context."""

    def forward(self, x):
        c, p, lib = self.c, self.p, self.lib
        ends = [self.front_end(x[:, k * c["context_hop"]:][:, :c["frame"]]) for k in range(c["before"] + 1 + c["after"])]
        rows = lib.einsum("bcn->nbc", lib.cat([z for _, z, _ in ends], 1))  # all frames side by side
        for n in range(len(c["lstm"])):
            rows = self.bilstm(f"lstm.{n}", rows, linear=n + 1 == len(c["lstm"]))
        zhat = saaf(lib.einsum("nbc->bcn", rows), c, p["latent_saaf.v"], p["latent_saaf.w"], lib)
        x1, _, first_max = ends[c["before"]]
        u = self.unpool(zhat, x1, first_max)
        v = self.dnn_saaf(u, p)
        hidden = lib.relu(self.linear("excite.0", abs(v).mean(-1)[..., None]))
        return self.deconv(u + self.sigmoid(self.linear("excite.1", hidden)) * v)

    def bilstm(self, name, x, linear):  # (N,B,I) -> (N,B,2H)
        p, lib = self.p, self.lib
        rest = lib.zeros(x.shape[1], len(p[name + ".bias"]) // 4)
        there = lib.lstm(x, p[name + ".weight"], p[name + ".bias"], rest, rest, linear)[0]
        back = lib.lstm(lib.flip(x, (0,)), p[name + ".reverse.weight"], p[name + ".reverse.bias"], rest, rest, linear)[0]
        return lib.cat([there, lib.flip(back, (0,))], 2)


class Lstm(Layers):
    """x, y (B,n): signals, each after a long silence."""

    def forward(self, x):
        lib, rows = self.lib, x.T[..., None]  # (n,B,1)
        for n, (h, c) in enumerate(self.rest()):
            h, c = (lib.zeros(x.shape[0], len(h)) + lib.numbers(s) for s in (h, c))
            rows = lib.lstm(rows, *self.layer(n), h, c)[0]
        return (rows @ self.p["head.weight"].T + self.p["head.bias"])[..., 0].T

    def layer(self, n):
        """Weights and bias; the knobs, which stand still beside the sample, are part of the bias."""
        w, bias, K = self.p[f"lstm.{n}.weight"], self.p[f"lstm.{n}.bias"], len(self.at)
        if n > 0 or K == 0:
            return w, bias
        return self.lib.cat([w[:, :1], w[:, 1 + K:]], 1), bias + w[:, 1:1 + K] @ self.at

    def rest(self):
        """h and c (H) of each layer after 48,000 samples of silence. In NumPy: no gradient goes through it."""
        alone = Lstm(self.c, {n: self.lib.array(t) for n, t in self.p.items()}, self.lib.array(self.at), NUMPY)
        layers = [alone.layer(n) for n in range(self.c["layers"])]
        states = [(np.zeros((1, self.c["hidden"])),) * 2 for _ in layers]
        for _ in range(48):
            rows, before = np.zeros((1000, 1, 1)), states
            states = []
            for layer, (h, c) in zip(layers, before):
                rows, h, c = numpy_lstm(rows, *layer, h, c)
                states.append((h, c))
            if np.abs(np.array(states) - before).max() < 1e-13:
                break
        return [(h[0], c[0]) for h, c in states]


class Wavenet(Layers):
    """x, y (B,n): signals, each after a long silence."""

    def forward(self, x):
        c, p, lib, n, K = self.c, self.p, self.lib, x.shape[1], self.c["taps"]
        condition = lib.pad(x, (K - 1) * sum(c["dilations"]), 0)[:, None]
        y, head, dilations = condition, 0, iter(c["dilations"])
        film = self.modulation() if len(self.at) > 0 else None
        for a, C in enumerate(c["channels"]):
            array = f"arrays.{a}."
            y = p[array + "rechannel.weight"] @ y
            for l in range(c["layers"][a]):
                layer, d = f"{array}layers.{l}.", next(dilations)
                w, bias, mixer = (p[layer + name] for name in ("conv.weight", "conv.bias", "mixer.weight"))
                if film is not None:
                    scale, shift, film = 1 + film[:len(w)], film[len(w):2 * len(w)], film[2 * len(w):]
                    w, bias, mixer = scale[:, None, None] * w, scale * bias + shift, scale[:, None] * mixer
                T = y.shape[2] - (K - 1) * d
                z = sum(w[:, :, k] @ y[..., k * d:k * d + T] for k in range(K))
                z = z + bias[:, None] + mixer @ condition[..., condition.shape[2] - T:]
                z = lib.tanh(z[:, :C]) * self.sigmoid(z[:, C:]) if c["gated"] else lib.tanh(z)
                head = head + z[..., T - n:]
                y = y[..., (K - 1) * d:] + self.linear(layer + "dense", z)
            head = p[array + "head.weight"] @ head
        return c["head_scale"] * (head + p[array + "head.bias"])[:, 0]


class S4(Layers):
    """x, y (B,n): signals, each after the config's rest_samples of silence."""

    def forward(self, x):
        c, lib, n, block = self.c, self.lib, x.shape[1], self.c["film_block"]
        temporal = c["film"] == "temporal"
        step = block if temporal else 512  # samples that a stream rests at a time
        rest = -(-c["rest_samples"] // step) * step
        x = self.linear("expand", lib.pad(x, rest, -n % block if temporal else 0)[:, None])  # (B,C,T)
        for k in range(c["blocks"]):
            name = f"blocks.{k}."
            z = self.ssm(name + "s4.", lib.tanh(self.linear(name + "linear", x)))
            if temporal:
                z = self.temporal_film(name + "film.lstm.", z, block)
            elif len(self.at) > 0:
                film, C = self.modulation(name + "film"), c["channels"]
                z = (1 + film[:C, None]) * z + film[C:, None]
            x = lib.tanh(z) + self.p[name + "res.weight"][..., 0] * x
        return lib.tanh(self.linear("contract", x))[:, 0, rest:rest + n]

    def ssm(self, name, u):
        """u convolved with the damped oscillators' response, 2 Re sum c (exp(dt A) - 1) / A exp(dt A t), made in double."""
        lib, T, L = self.lib, u.shape[2], 256
        log_dt, c, log_real, imaginary = (lib.double(self.p[name + n]) for n in ("log_dt", "C", "log_A_real", "A_imag"))
        A = lib.complex(-lib.exp(log_real), imaginary)  # (C,N)
        dt_A = lib.exp(log_dt)[:, None] * A
        first = lib.complex(c[..., 0], c[..., 1]) * (lib.exp(dt_A) - 1) / A
        starts = first[:, None] * lib.exp(dt_A[:, None] * (L * lib.arange(T // L + 1))[:, None])  # (C,T/L,N)
        response = 2 * (starts @ lib.exp(dt_A[..., None] * lib.arange(L))).real  # (C,T/L,L)
        response = lib.like(u, response.reshape(len(A), -1)[:, :T])
        y = lib.irfft(lib.rfft(u, 2 * T) * lib.rfft(response, 2 * T), 2 * T)[..., :T]
        return y + self.p[name + "D"][:, None] * u

    def temporal_film(self, name, z, block):
        """Each block of samples scaled and shifted by what an LSTM hears of the blocks' maxima, and of the knobs."""
        p, lib, C = self.p, self.lib, z.shape[1]
        blocks = z.reshape(*z.shape[:2], -1, block)  # (B,C,T/block,block)
        w, bias = p[name + "weight_ih_l0"], p[name + "bias_ih_l0"] + p[name + "bias_hh_l0"]
        bias = bias + w[:, C:] @ self.at
        rest = lib.zeros(len(z), 2 * C)
        pooled = lib.einsum("bck->kbc", lib.amax(blocks, -1))
        film = lib.lstm(pooled, lib.cat([w[:, :C], p[name + "weight_hh_l0"]], 1), bias, rest, rest)[0]
        film = lib.einsum("kbc->bck", film)[..., None]
        return (film[:, :C] * blocks + film[:, C:]).reshape(z.shape)


TYPES = {"cafx": Cafx, "eq_net": Cafx, "crafx": Crafx, "lstm": Lstm, "wavenet": Wavenet, "s4": S4}


def saaf(x, c, v, w, lib):
    """Piecewise polynomial A + t (B + t H) of t = x - a; the pieces from prefix sums, O(1) per sample."""
    lo, S, order = c["saaf.lo"], c["saaf.segments"], c["saaf.order"]
    D, v1, v0 = (c["saaf.hi"] - lo) / S, v[-1:], v[:1] if c["saaf.v0"] else 0 * v[-1:]
    w = w * c["saaf.scale"]
    if c["saaf.every_second"]:  # straight segments between the curved ones
        w = lib.stack([w, 0 * w], 1).reshape(-1, w.shape[1])[:S]
    B = v1 + D * (w.cumsum(0) - w) if order == 2 else v1 + w
    H = w / 2 if order == 2 else 0 * w
    A = lib.cat([v0 + v1 * lo, v0 + v1 * lo + (D * (B + D * H)).cumsum(0)], 0)
    last = B[-1:] + D * w[-1:] if order == 2 else v1
    table = lib.stack([lib.cat([A[:1], A], 0), lib.cat([v1, B, last], 0), lib.cat([0 * v1, H, 0 * v1], 0)], 0)
    segment = lib.floor((x - lo) / D).clip(-1, S)
    k = lib.index(segment) + 1  # 0: below lo; S + 1: above hi
    t = x - (lo + D * segment.clip(0, S))
    A, B, H = table[:, k, lib.arange(x.shape[1])[:, None]]
    return A + t * (B + t * H)


def numpy_conv(x, w, b):  # x (B, 1 or C, T), w (C,1,K): one filter per output channel, 'same'
    K, T = w.shape[2], x.shape[2]
    x = np.pad(x, ((0, 0), (0, 0), ((K - 1) // 2, K // 2)))
    return sum(w[:, :, k] * x[:, :, k:k + T] for k in range(K)) + b[:, None]


def numpy_deconv(u, w, b, form):  # (B,C,T) -> (B,T); adjoint of numpy_conv, or the journal's correlation
    K, T = w.shape[2], u.shape[2]
    w, sides = (w[:, 0, ::-1], (K // 2, (K - 1) // 2)) if form == "adjoint" else (w[:, 0], ((K - 1) // 2, K // 2))
    u = np.pad(np.tensordot(w, u, (0, 1)), ((0, 0), (0, 0), sides))  # (K,B,T+K-1)
    return sum(u[k, :, k:k + T] for k in range(K)) + b


def numpy_lstm(x, w, bias, h, c, linear=False):
    """x (T,B,I), w (4H,I+H) of input and state, gates in the order i, f, g, o; h, c (B,H) -> all h (T,B,H), the last h
    and c. linear: the identity in place of both tanh."""
    T, H, I = len(x), h.shape[1], x.shape[2]
    z, u, rows, bend = x @ w[:, :I].T + bias, w[:, I:].T, np.zeros((T, *h.shape)), np.positive if linear else np.tanh
    for t in range(T):
        gates = z[t] + h @ u
        i, f, o = (0.5 + 0.5 * np.tanh(0.5 * gates[:, k * H:(k + 1) * H]) for k in (0, 1, 3))
        c = f * c + i * bend(gates[:, 2 * H:3 * H])
        h = rows[t] = o * bend(c)
    return rows, h, c


NUMPY = SimpleNamespace(
    conv=numpy_conv, deconv=numpy_deconv, lstm=numpy_lstm, softplus=lambda x: np.logaddexp(0, x), relu=lambda x: np.maximum(x, 0),
    tanh=np.tanh, exp=np.exp, einsum=np.einsum, stack=np.stack, cat=np.concatenate, flip=np.flip, amax=np.amax, arange=np.arange,
    floor=np.floor, zeros=lambda *shape: np.zeros(shape), index=lambda x: x.astype(np.int64), numbers=np.asarray, array=np.asarray,
    pad=lambda x, left, right: np.pad(x, ((0, 0), (left, right))), complex=lambda re, im: re + 1j * im, double=np.asarray,
    like=lambda x, y: y, rfft=np.fft.rfft, irfft=np.fft.irfft)


def torch_module(model):
    layers = model.layers()
    import torch
    from torch.nn.functional import conv1d, pad, softplus

    def conv(x, w, b):
        return conv1d(pad(x, ((w.shape[2] - 1) // 2, w.shape[2] // 2)), w, b, groups=x.shape[1])

    def deconv(u, w, b, form):
        sides = (w.shape[2] - 1) // 2, w.shape[2] // 2
        w, sides = (w.flip(2), sides[::-1]) if form == "adjoint" else (w, sides)
        return conv1d(pad(u, sides), w.transpose(0, 1), b)[:, 0]

    def lstm(x, w, bias, h, c, linear=False):
        I, H = x.shape[2], h.shape[1]
        if not linear:
            flat = [w[:, :I].contiguous(), w[:, I:].contiguous(), bias, torch.zeros_like(bias)]
            rows, h, c = torch._VF.lstm(x.contiguous(), (h[None], c[None]), flat, True, 1, 0.0, False, False, False)
            return rows, h[0], c[0]
        rows = []
        for z in x @ w[:, :I].T + bias:
            i, f, g, o = (z + h @ w[:, I:].T).split(H, 1)
            c = f.sigmoid() * c + i.sigmoid() * g
            h = o.sigmoid() * c
            rows.append(h)
        return torch.stack(rows), h, c

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in model.tensors.items():  # "dnn.0.weight": `weight` of module `0` of module `dnn`
                at = self
                for part in name.split(".")[:-1]:
                    if part not in at._modules:
                        at.add_module(part, torch.nn.Module())
                    at = at._modules[part]
                at.register_parameter(name.split(".")[-1], torch.nn.Parameter(torch.tensor(np.array(value))))

        def forward(self, x):
            same = {n: getattr(torch, n) for n in ("tanh", "exp", "relu", "einsum", "stack", "cat", "flip", "amax", "floor", "complex")}
            lib = SimpleNamespace(
                **same, conv=conv, deconv=deconv, lstm=lstm, softplus=softplus, rfft=torch.fft.rfft, irfft=torch.fft.irfft,
                arange=lambda n: torch.arange(n, device=x.device), zeros=lambda *shape: x.new_zeros(shape), index=lambda v: v.long(),
                numbers=x.new_tensor, array=lambda v: v.detach().cpu().double().numpy(), pad=lambda v, *sides: pad(v, sides),
                double=lambda v: v.double(), like=lambda v, y: y.to(v.dtype))
            return layers(model.config, dict(self.named_parameters()), x.new_tensor(model.controls), lib).forward(x)

    return Net()


def render(frames, config, x, hop=None):
    """x (n) -> y (n). Of frames: from -(frame - hop) on, Hann window, sum divided by the sum of windows; hop None: the
    model's. Of a type that plays sample by sample: as it is, without a hop."""
    x = np.asarray(x)
    if "frame" not in config:
        return frames(x[None])[0]
    T, n, hop = config["frame"], len(x), hop or min(config["hop"], config["frame"] // 2)
    before, after = (config.get(side, 0) * config.get("context_hop", 0) for side in ("before", "after"))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(T) / T)
    total, weight, padded = np.zeros(n + 2 * T), np.zeros(n + 2 * T), np.pad(x, (T + before, T + after))
    for at in range(hop, n + T, hop):  # in the padded signal
        total[at:at + T] += window * frames(padded[None, at:at + before + T + after])[0]
        weight[at:at + T] += window
    return (total / np.maximum(weight, 1e-30))[T:T + n]
