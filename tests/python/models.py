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


KNOBS = ["gain: 0..10dB", "mode: a|b|c", "bright: off|on"]
CURVES = {k: v for k, v in {**DEFAULT, **JOURNAL}.items() if k.startswith("saaf.") and k != "saaf.enabled"}
CRAFX = {"sample_rate": 16000, "frame": 240, "hop": 120, "before": 2, "after": 1, "context_hop": 100, "filters": 12, "taps": 17,
         "local_taps": 30, "pool": 12, "lstm": [5, 6], "dnn": [7, 12], "activation": "tanh", "excite": 9, "unpool": "hold",
         "deconv": "correlate", **CURVES}
LSTM = {"sample_rate": 16000, "hidden": 9, "layers": 1}
WAVENET = {"sample_rate": 16000, "channels": [5, 3], "layers": [2, 3], "dilations": [1, 7, 2, 30, 4], "taps": 3, "gated": False,
           "head_scale": 0.5}
S4 = {"sample_rate": 16000, "blocks": 3, "channels": 5, "state": 4, "film": "none", "film_block": 32, "rest_samples": 3000}
OTHERS = {  # the other types: (type, config)
    "crafx": ("crafx", CRAFX),
    "crafx, positions, adjoint": ("crafx", {**CRAFX, "unpool": "positions", "deconv": "adjoint", "after": 0, "activation": "softplus",
                                            "saaf.order": 1, "saaf.every_second": False, "saaf.v0": True, "saaf.lo": -1.0, "saaf.hi": 1.0,
                                            "saaf.scale": 1.0}),
    "lstm": ("lstm", LSTM),
    "lstm, two layers, knobs": ("lstm", {**LSTM, "layers": 2, "knobs": KNOBS}),
    "wavenet": ("wavenet", WAVENET),
    "wavenet, gated, knobs": ("wavenet", {**WAVENET, "gated": True, "knobs": KNOBS}),
    "s4": ("s4", S4),
    "s4, knobs": ("s4", {**S4, "knobs": KNOBS}),
    "s4, temporal FiLM": ("s4", {**S4, "film": "temporal"}),
    "s4, temporal FiLM, knobs": ("s4", {**S4, "film": "temporal", "film_block": 25, "knobs": KNOBS}),
}


def shapes_of(kind, c):
    """(name, shape, inputs) of every tensor."""
    K = len(cafx.controls(c, {}))
    if kind == "crafx":
        C, curved = c["filters"], (c["saaf.segments"] + 1) // 2 if c["saaf.every_second"] else c["saaf.segments"]
        yield "conv1d.weight", (C, 1, c["taps"]), c["taps"]
        yield "local_conv.weight", (C, 1, c["local_taps"]), c["local_taps"]
        yield "deconv.bias", (1,), 300
        width = (c["before"] + 1 + c["after"]) * C
        for n, H in enumerate(c["lstm"]):
            for direction in ("", ".reverse"):
                yield f"lstm.{n}{direction}.weight", (4 * H, width + H), width
            width = 2 * H
        for inputs, n, outputs in zip([C, *c["dnn"]], range(len(c["dnn"])), c["dnn"]):
            yield f"dnn.{n}.weight", (outputs, inputs), inputs
        yield "excite.0.weight", (c["excite"], C), C
        yield "excite.1.weight", (C, c["excite"]), c["excite"]
        for name in ("saaf", "latent_saaf"):
            yield name + ".v", (2 if c["saaf.v0"] else 1, C), 2
            yield name + ".w", (curved, C), 3 * c["saaf.scale"]
    elif kind == "lstm":
        for n in range(c["layers"]):
            inputs = 1 + K if n == 0 else c["hidden"]
            yield f"lstm.{n}.weight", (4 * c["hidden"], inputs + c["hidden"]), 3
        yield "head.weight", (1, c["hidden"]), c["hidden"]
    elif kind == "wavenet":
        inputs, layer, rows = 1, 0, 0
        for a, C in enumerate(c["channels"]):
            Z, outputs = 2 * C if c["gated"] else C, [*c["channels"], 1][a + 1]
            yield f"arrays.{a}.rechannel.weight", (C, inputs), inputs
            for l in range(c["layers"][a]):
                of_layer = f"arrays.{a}.layers.{l}."
                yield of_layer + "conv.weight", (Z, C, c["taps"]), C * c["taps"]
                yield of_layer + "mixer.weight", (Z, 1), 1
                yield of_layer + "dense.weight", (C, C), C
                rows += 2 * Z
            yield f"arrays.{a}.head.weight", (outputs, C), C
            inputs = C
        yield f"arrays.{len(c['channels']) - 1}.head.bias", (1,), 3
        if K:
            yield "knobs.weight", (16, K), K
            yield "film.weight", (rows, 16), 16
    else:
        C, N = c["channels"], c["state"]
        yield "expand.weight", (C, 1), 1
        for k in range(c["blocks"]):
            name = f"blocks.{k}."
            yield name + "linear.weight", (C, C), C
            for part, shape in (("log_dt", (C,)), ("C", (C, N, 2)), ("log_A_real", (C, N)), ("A_imag", (C, N)), ("D", (C,))):
                yield f"{name}s4.{part}", shape, 3
            if c["film"] == "temporal":
                for part, shape in (("weight_ih", (C + K,)), ("weight_hh", (2 * C,)), ("bias_ih", ()), ("bias_hh", ())):
                    yield f"{name}film.lstm.{part}_l0", (8 * C, *shape), 4
            elif K:
                yield name + "film.weight", (2 * C, 16), 16
            yield name + "res.weight", (C, 1, 1), 1
        yield "contract.weight", (1, C), C
        if K and c["film"] == "none":
            yield "knobs.weight", (16, K), K


def random_other(kind, c, seed=7):
    """A model of another type, with weights that bend and that every knob reaches; each weight has its bias."""
    rng, t = np.random.default_rng(seed), {}
    for name, shape, inputs in shapes_of(kind, c):
        t[name] = (rng.uniform(-1, 1, shape) * np.sqrt(3.0 / inputs)).astype("<f4")
        bias = name.replace(".weight", ".bias")
        bare = "mixer" in name or "rechannel" in name or "res.weight" in name or (kind == "wavenet" and name.endswith("head.weight"))
        if bias != name and not bare:
            t[bias] = (0.2 * rng.uniform(-1, 1, shape[0])).astype("<f4")
        if name.endswith("s4.log_dt"):
            t[name] = (t[name] - 4).astype("<f4")
        if name.endswith("A_imag"):
            t[name] = (t[name] + 3 * np.arange(shape[1])).astype("<f4")
    return cafx.Model(c, t, {"model": kind})


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
