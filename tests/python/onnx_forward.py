"""Runs what `cafx export --format onnx` writes in onnxruntime and holds it against cafx, to 1e-5 per sample.

Usage: onnx_forward.py CAFX PROJECT_FOLDER (see onnx.sh).  Exit code 77: skipped, with the reason.
  Every preset in its full size, and every choice of the config in small: the self-test frame in the file, a whole signal
  against `cafx render`, the same frames one by one and all at once, the metadata. LSTM and WaveNet: the self-test in blocks, each with
  the state that the former left, a signal against `cafx render`, two streams at once, a position of the knobs.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

binary, root = sys.argv[1:3]
sys.path.insert(0, os.path.join(root, "python"))
import cafx  # noqa: E402
from models import CASES, JOURNAL, PAPER, audio, random_model, read_wav, write_wav  # noqa: E402

failures = 0


def verdict(name, error, tolerance):
    global failures
    good = error <= tolerance  # false for NaN
    failures += not good
    print(f"{'ok    ' if good else 'FAILED'} {name}: {error:.2e} of {tolerance:.1e}")


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def nearest_tie(model, frames):
    """The smallest distance of the two largest values of a pooling window, as a part of the largest: where it is rounding
    alone, `positions` is not decided, and two libraries may differ."""
    p = {n: t.astype(np.float64) for n, t in model.tensors.items()}
    x1 = cafx.numpy_conv(frames[:, None].astype(np.float64), p["conv1d.weight"], p["conv1d.bias"])
    x2 = cafx.numpy_conv(abs(x1), p["local_conv.weight"], p["local_conv.bias"])
    windows = np.sort(x2.reshape(len(frames), x2.shape[1], -1, model.config["pool"]), -1)
    return (windows[..., -1] - windows[..., -2]).min() / abs(x2).max() if model.config["pool"] > 1 else 1.0


def frames_of(model, x, hop):
    T = model.config["frame"]
    padded = np.pad(x, (T, T))
    return np.stack([padded[at:at + T] for at in range(hop, len(x) + T, hop)])


full = {"default, full size": {}, "default with positions, full size": {"unpool": "positions"}, "paper, full size": PAPER, "paper with hold, full size": {**PAPER, "unpool": "hold"},
        "journal, full size": JOURNAL}
with tempfile.TemporaryDirectory() as work:
    for name, settings in {**CASES, **full}.items():
        model = random_model(settings)
        T = model.config["frame"]
        hop = min(100, T // 2) if T < 1000 else T // 2
        note = audio(2500 if T < 1000 else 2 * T + 77)
        cafx.save(f"{work}/m.safetensors", model.config, model.tensors, {"licence": "CC0", "run_hash": "0123456789ab", "init": "another"})
        turned = ["--knob", "gain=9"] if settings.get("knobs") else []
        if turned:
            model.turn(gain=9)
        subprocess.run([binary, "export", f"{work}/m.safetensors", "--format", "onnx", "-o", f"{work}/m.onnx", *turned], check=True,
                       stdout=subprocess.DEVNULL)
        write_wav(f"{work}/in.wav", note)
        subprocess.run([binary, "render", f"{work}/m.safetensors", f"{work}/in.wav", f"{work}/out.wav", "--hop", str(hop),
                        "--quiet", *turned], check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(f"{work}/m.onnx", options, providers=["CPUExecutionProvider"])
        run = lambda x: session.run(["y"], {"x": x.astype("<f4")})[0]

        meta = session.get_modelmeta().custom_metadata_map
        config = json.loads(meta["config"])
        expected = {"format": "cafx", "licence": "CC0", "run_hash": "0123456789ab", "init": "another", "sample_rate": "16000", "frame": str(T), "latency": str(T),
                    "hop": str(model.config["hop"]), "opset": "13"}
        wrong = {k: meta.get(k) for k, v in expected.items() if meta.get(k) != v}
        wrong.update({k: config.get(k) for k, v in model.config.items() if config.get(k) != v})
        verdict(f"{name}: metadata {wrong or ''}", 0.0 if not wrong and "Hann" in meta["window"] else np.inf, 0.0)

        x, y = floats(meta["selftest.input"]), floats(meta["selftest.output"])
        loud = np.abs(y).max()
        tie = nearest_tie(model, x[None])
        verdict(f"{name}: self-test, loudest {loud:.2f}, nearest tie {tie:.0e}", np.abs(run(x[None])[0] - y).max(), 1e-5)
        verdict(f"{name}: the self-test is loud", 0.0 if loud > 1e-2 and np.abs(x).max() > 0.1 else np.inf, 0.0)

        frames = frames_of(model, note, hop)
        all_at_once = run(frames)
        by_one = np.concatenate([run(frames[i:i + 1]) for i in range(min(len(frames), 7))])
        verdict(f"{name}: {len(frames)} frames at once as one by one", np.abs(all_at_once[:len(by_one)] - by_one).max(), 5e-6)
        outputs = iter(all_at_once.astype(np.float64))
        rendered = cafx.render(lambda _: [next(outputs)], model.config, note, hop)
        tie = nearest_tie(model, frames)
        verdict(f"{name}: whole signal, nearest tie {tie:.0e}", np.abs(rendered - read_wav(f"{work}/out.wav")).max(), 1e-5)


def tensors_of(shapes, seed=5):
    rng = np.random.default_rng(seed)
    return {n: (rng.uniform(-3, 3, s) / np.sqrt(max(1, s[-1]) if len(s) > 1 else 30)).astype("<f4") for n, s in shapes.items()}


def lstm(hidden, layers, knobs=()):
    shapes = {"head.weight": (1, hidden), "head.bias": (1,)}
    for l in range(layers):
        shapes[f"lstm.{l}.weight"] = (4 * hidden, (1 + len(knobs) if l == 0 else hidden) + hidden)
        shapes[f"lstm.{l}.bias"] = (4 * hidden,)
    return {"sample_rate": 16000, "hidden": hidden, "layers": layers, **({"knobs": list(knobs)} if knobs else {})}, shapes


def wavenet(gated, taps, knobs=()):
    channels, dilations = [6, 4], [1, 2, 4, 1, 8]
    config = {"sample_rate": 16000, "channels": channels, "layers": [3, 2], "dilations": dilations, "taps": taps, "gated": gated,
              "head_scale": 0.05, **({"knobs": list(knobs)} if knobs else {})}
    shapes, at = {}, 0
    for a, (C, n) in enumerate(zip(channels, config["layers"])):
        Z, out = 2 * C if gated else C, channels[1] if a == 0 else 1
        shapes[f"arrays.{a}.rechannel.weight"] = (C, 1 if a == 0 else channels[0])
        for l in range(n):
            name = f"arrays.{a}.layers.{l}."
            shapes.update({name + "conv.weight": (Z, C, taps), name + "conv.bias": (Z,), name + "mixer.weight": (Z, 1), name + "dense.weight": (C, C),
                           name + "dense.bias": (C,)})
        shapes[f"arrays.{a}.head.weight"] = (out, C)
        if a == 1:
            shapes[f"arrays.{a}.head.bias"] = (1,)
    if knobs:
        rows = sum(2 * n * C * (2 if gated else 1) for C, n in zip(channels, config["layers"]))
        shapes.update({"knobs.weight": (16, len(knobs)), "knobs.bias": (16,), "film.weight": (rows, 16), "film.bias": (rows,)})
    return config, shapes


def s4(blocks, channels, state, film_block=0, knobs=()):
    temporal = film_block > 0
    config = {"sample_rate": 16000, "blocks": blocks, "channels": channels, "state": state, "film": "temporal" if temporal else "none",
              "film_block": film_block or 128, "rest_samples": 3000, **({"knobs": list(knobs)} if knobs else {})}
    C, H = channels, 2 * channels
    shapes = {"expand.weight": (C, 1), "expand.bias": (C,), "contract.weight": (1, C), "contract.bias": (1,)}
    if knobs and not temporal:
        shapes.update({"knobs.weight": (16, len(knobs)), "knobs.bias": (16,)})
    for k in range(blocks):
        name = f"blocks.{k}."
        shapes.update({name + "linear.weight": (C, C), name + "linear.bias": (C,), name + "s4.log_dt": (C,), name + "s4.C": (C, state, 2),
                       name + "s4.log_A_real": (C, state), name + "s4.A_imag": (C, state), name + "s4.D": (C,), name + "res.weight": (C, 1, 1)})
        if temporal:
            shapes.update({name + "film.lstm.weight_ih_l0": (4 * H, C + len(knobs)), name + "film.lstm.weight_hh_l0": (4 * H, H),
                           name + "film.lstm.bias_ih_l0": (4 * H,), name + "film.lstm.bias_hh_l0": (4 * H,)})
        elif knobs:
            shapes.update({name + "film.weight": (H, 16), name + "film.bias": (H,)})
    return config, shapes


def as_oscillators(name, t):
    """Numbers as a training of an S4 begins with them: dampings of some hundred to some thousand samples."""
    if name.endswith("log_dt"):
        return np.linspace(np.log(0.001), np.log(0.1), t.size).astype("<f4")
    if name.endswith("log_A_real"):
        return np.full(t.shape, np.log(0.5), "<f4")
    if name.endswith("A_imag"):
        return np.broadcast_to(np.pi * np.arange(t.shape[1]), t.shape).astype("<f4")
    return t / np.float32(3)


streams = {"lstm": (*lstm(12, 1), []), "lstm, two layers": (*lstm(8, 2), []),
           "lstm with knobs": (*lstm(8, 1, ["gain: 0..10 dB", "bright: off|on"]), ["gain=7.5", "bright=on"]),
           "wavenet": (*wavenet(False, 3), []), "wavenet, gated": (*wavenet(True, 2), []),
           "wavenet with knobs": (*wavenet(True, 2, ["gain: 0..10 dB", "bright: off|on"]), ["gain=7.5", "bright=on"]),
           "s4": (*s4(3, 5, 4), []), "s4, as large as s4-l": (*s4(8, 16, 32), []), "s4 with temporal FiLM": (*s4(2, 4, 3, 32), []),
           "s4 with knobs": (*s4(2, 4, 3, 0, ["gain: 0..10 dB", "bright: off|on"]), ["gain=7.5", "bright=on"]),
           "s4 with temporal FiLM and knobs": (*s4(2, 4, 3, 32, ["gain: 0..10 dB", "bright: off|on"]), ["gain=7.5", "bright=on"])}
with tempfile.TemporaryDirectory() as work:
    for name, (config, shapes, knobs) in streams.items():
        tensors = {n: (as_oscillators(n, t) if name.startswith("s4") else t) * np.float32(0.3 if n.startswith("film.") else 1.0) for n, t in tensors_of(shapes).items()}
        cafx.save(f"{work}/m.safetensors", config, tensors, {"model": name.split(",")[0].split()[0]})
        turned = [word for k in knobs for word in ("--knob", k)]
        subprocess.run([binary, "export", f"{work}/m.safetensors", "-o", f"{work}/m.onnx", *turned], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        session = onnxruntime.InferenceSession(f"{work}/m.onnx", providers=["CPUExecutionProvider"])
        meta = session.get_modelmeta().custom_metadata_map
        outputs = [o.name for o in session.get_outputs()]
        axes = {i.name: i.shape for i in session.get_inputs() if i.name != "x"}

        def play(signals, blocks):
            """signals (B,T), in blocks of so many samples each, from rest."""
            state = {n: np.repeat(floats(meta[n]).reshape([1 if s == "B" else s for s in shape]), len(signals), axis=shape.index("B"))
                     for n, shape in axes.items()}
            out, at = [], 0
            while at < signals.shape[1]:
                n = blocks[len(out) % len(blocks)]
                results = dict(zip(outputs, session.run(outputs, {"x": signals[:, at:at + n].astype("<f4"), **state})))
                out.append(results["y"])
                state = {s: results[s + ".next"] for s in state}
                at += n
            return np.concatenate(out, axis=1)

        unit, most = int(meta.get("unit", 1)), int(meta.get("max_samples", 1 << 20))
        verdict(f"{name}: units and the longest call", 0.0 if (unit, most) == (config["film_block"] if config.get("film") == "temporal" else 1,
                4096 if "film" in config else 1 << 20) else np.inf, 0.0)
        x, y = floats(meta["selftest.input"]), floats(meta["selftest.output"])
        blocks = [1, 64, 333] if unit == 1 else [unit, 3 * unit, 7 * unit]
        verdict(f"{name}: self-test in blocks, loudest {np.abs(y).max():.2f}", np.abs(play(x[None], blocks)[0] - y).max(), 1e-5)
        verdict(f"{name}: the self-test is heard", 0.0 if np.ptp(y) > 1e-2 else np.inf, 0.0)
        note = audio(2560)
        write_wav(f"{work}/in.wav", note)
        subprocess.run([binary, "render", f"{work}/m.safetensors", f"{work}/in.wav", f"{work}/out.wav", "--quiet", "--force", *turned], check=True)
        both = play(np.stack([note, note[::-1]]), [512])
        verdict(f"{name}: a signal, one of two streams", np.abs(both[0] - read_wav(f"{work}/out.wav")).max(), 1e-5)
sys.exit(1 if failures else 0)
