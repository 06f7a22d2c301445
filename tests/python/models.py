"""Models with random weights, and audio, for the tests of the formats. Shared by the scripts beside this one."""
import struct

import numpy as np

import cafx

DEFAULT = {  # of models/cafx/config.h
    "sample_rate": 16000, "frame": 1024, "hop": 512, "filters": 32, "taps": 64, "local_taps": 128, "pool": 16, "latent": 64,
    "latent_layer": "local",
    "dnn": [32, 32, 32, 32], "activation": "relu", "unpool": "hold", "deconv": "adjoint", "saaf.enabled": True,
    "saaf.segments": 24, "saaf.order": 2, "saaf.lo": -1.0, "saaf.hi": 1.0, "saaf.every_second": False, "saaf.v0": True,
    "saaf.scale": 1.0}
PAPER = {"hop": 64, "filters": 128, "dnn": [128, 64, 64, 128], "activation": "softplus", "unpool": "positions",
         "saaf.segments": 25}
JOURNAL = {"frame": 4096, "hop": 2048, "filters": 128, "pool": 64, "dnn": [128, 64, 64, 64, 128], "deconv": "correlate",
           "saaf.segments": 24, "saaf.lo": -0.2, "saaf.hi": 0.2, "saaf.every_second": True, "saaf.v0": False,
           "saaf.scale": 100.0}
SMALL = {"frame": 240, "hop": 120, "filters": 12, "taps": 17, "local_taps": 30, "pool": 12, "latent": 10, "dnn": [12, 9, 12]}
CASES = {  # every choice of the config, small; the presets with their own choices
    "default": {**SMALL},
    "paper": {**PAPER, **SMALL},
    "journal": {**JOURNAL, **SMALL, "dnn": [12, 7, 7, 7, 12]},
    "hold, softplus, correlate": {**SMALL, "activation": "softplus", "deconv": "correlate"},
    "positions, correlate, order 1": {**SMALL, "unpool": "positions", "deconv": "correlate", "saaf.order": 1},
    "order 1, every second, odd segments": {**SMALL, "activation": "tanh", "saaf.order": 1, "saaf.every_second": True,
                                            "saaf.segments": 5},
    "one latent layer for all channels": {**SMALL, "latent_layer": "dense"},
    "no saaf": {**SMALL, "saaf.enabled": False, "unpool": "positions"},
    "identity, one layer, one segment": {**SMALL, "dnn": [12], "activation": "identity", "saaf.segments": 1},
    "knobs that scale and shift": {**SMALL, "knobs": ["gain: 0..10 dB", "mode: a|b|c"]},
    "knobs beside the latent rows": {**SMALL, "knobs": ["gain: 0..10 dB", "bright: off|on"], "knob_layers": "latent", "latent_layer": "dense"},
    "more taps than samples": {**SMALL, "frame": 24, "hop": 12, "pool": 4, "taps": 40, "local_taps": 63},
}


def random_model(settings, seed=3):
    """Weights that spread the signal over the segments of the SAAF and both rays, and give an output near full scale."""
    c = {**DEFAULT, **settings}
    rng = np.random.default_rng(seed)
    C, N, L = c["filters"], c["frame"] // c["pool"], c["latent"]
    uniform = lambda *shape, fan: (rng.uniform(-1, 1, shape) * np.sqrt(3.0 / fan)).astype("<f4")
    t = {"conv1d.weight": uniform(C, 1, c["taps"], fan=c["taps"]), "conv1d.bias": uniform(C, fan=300),
         "local_conv.weight": uniform(C, 1, c["local_taps"], fan=c["local_taps"]), "local_conv.bias": uniform(C, fan=300),
         "dense.weight": uniform(N, L, fan=L), "dense.bias": uniform(N, fan=300), "deconv.bias": uniform(1, fan=300)}
    if c["latent_layer"] == "local":
        t["local_dense.weight"], t["local_dense.bias"] = uniform(C, L, N, fan=N), uniform(C, L, fan=300)
    else:
        t["latent_dense.weight"], t["latent_dense.bias"] = uniform(L, N, fan=N), uniform(L, fan=300)
    width = C
    for n, out in enumerate(c["dnn"]):
        t[f"dnn.{n}.weight"], t[f"dnn.{n}.bias"] = uniform(out, width, fan=width), uniform(out, fan=300)
        width = out
    if c.get("knobs"):
        K = len(cafx.controls(c, {}))
        if c.get("knob_layers") == "latent":
            t["dense.knobs"] = uniform(N, K, fan=K)
        else:
            rows = 2 * sum(c["dnn"])
            t.update({"knobs.weight": uniform(16, K, fan=K), "knobs.bias": uniform(16, fan=3), "film.weight": uniform(rows, 16, fan=100),
                      "film.bias": uniform(rows, fan=100)})
    if c["saaf.enabled"]:
        rows = (c["saaf.segments"] + 1) // 2 if c["saaf.every_second"] else c["saaf.segments"]
        bend = 1 / (c["saaf.scale"] * (1 if c["saaf.order"] == 1 else (c["saaf.hi"] - c["saaf.lo"]) / c["saaf.segments"]))
        t["saaf.v"] = np.concatenate([uniform(2 if c["saaf.v0"] else 1, C, fan=300)])
        t["saaf.v"][-1] += 1
        t["saaf.w"] = (uniform(rows, C, fan=12) * bend / np.sqrt(rows)).astype("<f4")
    model = cafx.Model(c, t)
    peak = np.abs(model(audio(c["frame"])[None])).max()
    for name in ("saaf.v", "saaf.w") if c["saaf.enabled"] else (f"dnn.{len(c['dnn']) - 1}.weight",):
        t[name] = (t[name] / peak).astype("<f4")
    return model


def audio(n, seed=5):
    t, rng = np.arange(n) / 16000, np.random.default_rng(seed)
    note = 0.4 * np.sin(2 * np.pi * 220 * t) * np.exp(-3 * t) + 0.2 * np.sin(2 * np.pi * 1310 * t + 1) * np.exp(-9 * t)
    return (note + 0.01 * rng.standard_normal(n)).astype("<f4")


def write_wav(path, x, rate=16000):  # 32 bit float, which the wave module does not know
    x = np.asarray(x, "<f4")
    with open(path, "wb") as f:
        f.write(b"RIFF" + struct.pack("<I", 36 + 4 * len(x)) + b"WAVEfmt " +
                struct.pack("<IHHIIHH", 16, 3, 1, rate, 4 * rate, 4, 32) + b"data" + struct.pack("<I", 4 * len(x)) + x.tobytes())


def read_wav(path):
    with open(path, "rb") as f:
        data = f.read()
    if struct.unpack("<H", data[20:22])[0] not in (3, 0xFFFE):
        raise ValueError(f"{path}: is not of floats")
    at = data.index(b"data") + 8
    return np.frombuffer(data[at:], "<f4").astype(np.float64)
