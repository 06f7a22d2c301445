"""Loads an exported model with nothing but numpy and reproduces what `cafx render` makes of a note, to 1e-5.

Usage: numpy_forward.py CAFX PROJECT_FOLDER.  Exit code 77: skipped, with the reason.
"""
import json
import struct
import subprocess
import sys
import tempfile
import wave

try:
    import numpy as np
except ImportError:
    print("skipped: numpy is not installed (python3-numpy)")
    sys.exit(77)


def load(path):
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(n))
        data = f.read()
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, t in header.items():
        a, b = t["data_offsets"]
        tensors[name] = np.frombuffer(data[a:b], "<f4").reshape(t["shape"]).astype(np.float64)
    return json.loads(metadata["config"]), tensors


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0, x),
    "identity": lambda x: x,
}


def saaf(x, v, w, c):  # x (T,C)
    lo, hi, S = c["saaf.lo"], c["saaf.hi"], c["saaf.segments"]
    D = (hi - lo) / S
    y = v[-1] * x + (v[0] if c["saaf.v0"] else 0)
    for row, s in enumerate(range(0, S, 2 if c["saaf.every_second"] else 1)):
        inside = np.clip(x - (lo + s * D), 0, D)
        above = np.maximum(x - (lo + (s + 1) * D), 0)
        b = inside ** 2 / 2 + D * above if c["saaf.order"] == 2 else inside
        y = y + c["saaf.scale"] * w[row] * b
    return y


def forward(x, c, p):  # x (T) -> y (T)
    T, C, K, K2, P = c["frame"], c["filters"], c["taps"], c["local_taps"], c["pool"]
    left = (K - 1) // 2
    xp = np.pad(x, (left, K - 1 - left))
    view = np.lib.stride_tricks.sliding_window_view(xp, K)  # (T,K)
    x1 = view @ p["conv1d.weight"][:, 0].T + p["conv1d.bias"]
    a = np.pad(np.abs(x1), (((K2 - 1) // 2, K2 - 1 - (K2 - 1) // 2), (0, 0)))
    local = np.lib.stride_tricks.sliding_window_view(a, K2, axis=0)  # (T,C,K2)
    x2 = np.logaddexp(0, np.einsum("tck,ck->tc", local, p["local_conv.weight"][:, 0]) + p["local_conv.bias"])
    windows = x2.reshape(T // P, P, C)
    z, position = windows.max(1), windows.argmax(1)
    h = np.logaddexp(0, np.einsum("coi,ic->oc", p["local_dense.weight"], z) + p["local_dense.bias"].T)
    z = np.logaddexp(0, p["dense.weight"] @ h + p["dense.bias"][:, None])
    up = np.repeat(z, P, axis=0)
    if c["unpool"] == "positions":
        up = up * (np.arange(T)[:, None] % P == np.repeat(position, P, axis=0))
    u = up * x1
    for l in range(len(c["dnn"])):
        u = u @ p[f"dnn.{l}.weight"].T + p[f"dnn.{l}.bias"]
        if l + 1 < len(c["dnn"]):
            u = ACTIVATIONS[c["activation"]](u)
    if c["saaf.enabled"]:
        u = saaf(u, p["saaf.v"], p["saaf.w"], c)
    w = p["conv1d.weight"][:, 0]
    products = u @ w  # (T,K)
    y = np.zeros(T + K - 1)
    for k in range(K):
        if c["deconv"] == "adjoint":
            y[k:k + T] += products[:, k]
        else:
            y[K - 1 - k:K - 1 - k + T] += products[:, k]
    pad = left if c["deconv"] == "adjoint" else K - 1 - left
    return y[pad:pad + T] + p["deconv.bias"]


def render(x, c, p, hop):
    T, n = c["frame"], len(x)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(T) / T)
    total, weight = np.zeros(n + 2 * T), np.zeros(n + 2 * T)
    xp = np.pad(x, (T, T))
    for i in range((n - 1 + T - hop) // hop + 1):
        at = -(T - hop) + i * hop + T
        total[at:at + T] += window * forward(xp[at:at + T], c, p)
        weight[at:at + T] += window
    return (total / np.maximum(weight, 1e-30))[T:T + n]


def read_wav(path):
    with open(path, "rb") as f:  # the wave module knows no float
        data = f.read()
    kind = struct.unpack("<H", data[20:22])[0]
    at = data.index(b"data") + 8
    return np.frombuffer(data[at:], "<f4" if kind == 3 else "<i2").astype(np.float64)


def main():
    cafx, root = sys.argv[1:3]
    rng = np.random.default_rng(5)
    t = np.arange(3001) / 16000
    note = 0.3 * np.sin(2 * np.pi * 220 * t) * np.exp(-6 * t) + 0.01 * rng.standard_normal(len(t))
    worst = 0.0
    with tempfile.TemporaryDirectory() as work:
        note = note.astype("<f4")
        with open(f"{work}/note.wav", "wb") as f:
            f.write(b"RIFF" + struct.pack("<I", 36 + 4 * len(note)) + b"WAVEfmt " +
                    struct.pack("<IHHIIHH", 16, 3, 1, 16000, 64000, 4, 32) + b"data" +
                    struct.pack("<I", 4 * len(note)) + note.tobytes())
        small = ["model.frame=256", "model.hop=128", "model.filters=12", "model.latent=16", "model.taps=17",
                 "model.local_taps=30", "train.epochs=2", "train.pretrain_epochs=1", "train.refine_epochs=0"]
        cases = {
            "default": ["model.dnn=[12,10,12]"],
            "paper": ["model.dnn=[12,7,7,12]"],
            "journal": ["model.dnn=[12,7,7,7,12]", "model.pool=16", "train.epochs=1"],
            "order 1": ["model.dnn=[12,12]", "model.saaf.order=1", "model.activation=tanh"],
            "no saaf": ["model.dnn=[12,12]", "model.saaf.enabled=false", "model.unpool=positions"],
        }
        for name, settings in cases.items():
            preset = name if name in ("paper", "journal") else "default"
            command = [cafx, "train", "--preset", preset, "--quiet", "--out", f"{work}/{name}"]
            data = [f"data.path={root}/datasets/notes", "data.setting=2", "train.hop=256", "train.lr=0.001"]
            for s in small + settings + data:
                command += ["--set", s]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            subprocess.run([cafx, "export", f"{work}/{name}", "-o", f"{work}/m.safetensors"], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([cafx, "render", f"{work}/m.safetensors", f"{work}/note.wav", f"{work}/out.wav", "--hop", "100", "--quiet"],
                           check=True)
            c, p = load(f"{work}/m.safetensors")
            expected, got = render(note.astype(np.float64), c, p, 100), read_wav(f"{work}/out.wav")
            error = np.abs(expected - got).max() if len(got) == len(expected) else np.inf
            loud = np.abs(expected).max()
            print(f"{name}: largest difference {error:.2e}, loudest sample {loud:.3f}")
            if not loud > 1e-4:
                print("the output is silent, which shows nothing")
                return 1
            worst = max(worst, error)
    return 0 if worst <= 1e-5 else 1


sys.exit(main())
