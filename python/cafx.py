"""Loads, runs and saves models of cafx: NumPy, or PyTorch with gradients. One file, to be copied anywhere.

    model = cafx.load("model.safetensors")           # what `cafx export` wrote
    y = model(x)                                     # NumPy: frames (B, frame) -> (B, frame), in float64
    y = cafx.render(model, model.config, x, hop=64)  # a whole signal at its sample_rate, as `cafx render`
    net = cafx.torch_module(model)                   # a torch.nn.Module on (B, frame); state_dict() has the file's names
    cafx.save("again.safetensors", model.config, net.state_dict())      # `cafx render again.safetensors in.wav out.wav`
    model.turn(gain=7.5, bright="on")                # of a model with knobs; at first they stand in the middle, a switch left

README.md beside this file has the names and shapes."""
import json
import math
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
    return Model(json.loads(metadata["config"]), tensors, metadata)


def save(path, config, tensors, metadata=()):
    """config: as in load(path).config; what is missing is cafx's default. metadata's "model" names the type; cafx by default."""
    arrays = {n: np.ascontiguousarray(t.detach().cpu().numpy() if hasattr(t, "detach") else t, "<f4")
              for n, t in sorted(tensors.items())}
    about = {"format": "cafx", "format_version": "1", "model": dict(metadata).get("model", "cafx"), "form": "supervised"}
    header, at = {"__metadata__": {**dict(metadata), **about, "config": json.dumps(config)}}, 0
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
        lo, hi = float(what.split("..")[0]), float(what.split("..")[1].split()[0])
        value = (lo + hi) / 2 if value is None else float(value)
        if not lo <= value <= hi:
            raise ValueError(f"{name} = {value} is out of its range, {lo} to {hi}")
        numbers.append(2 * (value - lo) / (hi - lo) - 1)
    if values:
        raise ValueError(f"the model has no knob {', '.join(values)}")
    return numbers


class Model:
    def __init__(self, config, tensors, metadata=()):
        self.config, self.tensors, self.metadata = config, tensors, dict(metadata)
        self.turn()

    def turn(self, **values):
        """Knobs to these values, those that are not named to where they stand at first."""
        self.controls = controls(self.config, values)

    def needs_forward(self):
        """ValueError where this file has no forward pass for the type."""
        kind = self.metadata.get("model", "cafx")
        if kind not in ("cafx", "eq_net"):
            raise ValueError(f"a model of type {kind}: this file runs cafx and eq_net; cafx.load of the wheel plays every type")

    def __call__(self, x):
        self.needs_forward()
        p = {n: t.astype(np.float64) for n, t in self.tensors.items()}
        return forward(np.asarray(x, np.float64), self.config, p, NUMPY, self.controls)


def at_controls(c, p, at, lib):
    """The tensors where the knobs stand; `at`, as controls() makes it, is of the tensors' kind."""
    if len(at) == 0:
        return p
    if c.get("knob_layers", "film") == "latent":
        return {**p, "dense.bias": p["dense.bias"] + p["dense.knobs"] @ at}
    film = p["film.weight"] @ lib.tanh(p["knobs.weight"] @ at + p["knobs.bias"]) + p["film.bias"]
    p, first = dict(p), 0
    for n, width in enumerate(c["dnn"]):
        scale, shift = 1 + film[first:first + width], film[first + width:first + 2 * width]
        p[f"dnn.{n}.weight"] = scale[:, None] * p[f"dnn.{n}.weight"]
        p[f"dnn.{n}.bias"] = scale * p[f"dnn.{n}.bias"] + shift
        first += 2 * width
    return p


def forward(x, c, p, lib, at=()):
    """x, y (B, frame); channels before time inside. `lib` is what NumPy and PyTorch do differently. at: of knobs."""
    p = at_controls(c, p, lib.numbers(at), lib)
    B, C, T, P = len(x), c["filters"], c["frame"], c["pool"]
    x1 = lib.conv(x[:, None], p["conv1d.weight"], p["conv1d.bias"])  # (B,C,T)
    x2 = lib.conv(abs(x1), p["local_conv.weight"], p["local_conv.bias"])
    windows = x2.reshape(B, C, T // P, P)
    first_max = windows.argmax(-1)[..., None] == lib.arange(P)  # softplus rises: pooling before it is the same
    z = lib.softplus((windows * first_max).sum(-1))  # (B,C,T/P)
    if c.get("latent_layer", "local") == "local":
        h = lib.softplus(lib.einsum("coi,bci->bco", p["local_dense.weight"], z) + p["local_dense.bias"])
    else:
        h = lib.softplus(z @ p["latent_dense.weight"].T + p["latent_dense.bias"])
    up = lib.softplus(h @ p["dense.weight"].T + p["dense.bias"])[..., None]
    if c["unpool"] == "positions":
        up = up * first_max
    u = (x1.reshape(B, C, T // P, P) * up).reshape(B, C, T)
    dnn = c.get("dnn", [])  # of an EQ net: none, and no SAAF
    for n in range(len(dnn)):
        u = p[f"dnn.{n}.weight"] @ u + p[f"dnn.{n}.bias"][:, None]
        if n + 1 < len(dnn) and c["activation"] != "identity":
            u = getattr(lib, c["activation"])(u)
    if c.get("saaf.enabled", False):
        u = saaf(u, c, p["saaf.v"], p["saaf.w"], lib)
    return lib.deconv(u, p["conv1d.weight"], p["deconv.bias"], c.get("deconv", "adjoint"))


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


NUMPY = SimpleNamespace(conv=numpy_conv, deconv=numpy_deconv, softplus=lambda x: np.logaddexp(0, x), tanh=np.tanh,
                        relu=lambda x: np.maximum(x, 0), einsum=np.einsum, stack=np.stack, cat=np.concatenate,
                        arange=np.arange, floor=np.floor, index=lambda x: x.astype(np.int64), numbers=np.asarray)


def torch_module(model):
    model.needs_forward()
    import torch
    from torch.nn.functional import conv1d, pad, softplus

    def conv(x, w, b):
        return conv1d(pad(x, ((w.shape[2] - 1) // 2, w.shape[2] // 2)), w, b, groups=x.shape[1])

    def deconv(u, w, b, form):
        sides = (w.shape[2] - 1) // 2, w.shape[2] // 2
        w, sides = (w.flip(2), sides[::-1]) if form == "adjoint" else (w, sides)
        return conv1d(pad(u, sides), w.transpose(0, 1), b)[:, 0]

    class Cafx(torch.nn.Module):
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
            same = {n: getattr(torch, n) for n in ("tanh", "relu", "einsum", "stack", "cat", "floor")}
            lib = SimpleNamespace(**same, conv=conv, deconv=deconv, softplus=softplus, index=lambda v: v.long(),
                                  arange=lambda n: torch.arange(n, device=x.device), numbers=x.new_tensor)
            return forward(x, model.config, dict(self.named_parameters()), lib, model.controls)

    return Cafx()


def render(frames, config, x, hop):
    """x (n) -> y (n): frames from -(frame - hop) on, Hann window, sum divided by the sum of windows."""
    T, n = config["frame"], len(x)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(T) / T)
    total, weight, padded = np.zeros(n + 2 * T), np.zeros(n + 2 * T), np.pad(x, (T, T))
    for at in range(hop, n + T, hop):  # in the padded signal
        total[at:at + T] += window * frames(padded[None, at:at + T])[0]
        weight[at:at + T] += window
    return (total / np.maximum(weight, 1e-30))[T:T + n]
