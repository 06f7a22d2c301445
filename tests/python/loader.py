"""Holds python/cafx.py against the golden files, and against cafx in both directions, for every type of model.

Usage: loader.py numpy|torch|exchange CAFX PROJECT_FOLDER.  Exit code 77: skipped, with the reason.
  numpy     its NumPy forward against the golden files
  torch     its PyTorch forward and every gradient tensor against the golden files, and against its NumPy forward
  exchange  files of cafx read by Python, files written by Python used by cafx
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("skipped: numpy is not installed (python3-numpy)")
    sys.exit(77)

what, binary, root = sys.argv[1:4]
sys.path.insert(0, os.path.join(root, "python"))
sys.path.insert(0, os.path.join(root, "tests", "python"))
import cafx  # noqa: E402
from models import CASES, OTHERS, audio, random_model, random_other, read_wav, write_wav  # noqa: E402

if not os.path.samefile(os.path.dirname(cafx.__file__), os.path.join(root, "python")):
    sys.exit(f"another cafx was imported: {cafx.__file__}")
failures = 0


def verdict(name, error, tolerance):
    global failures
    good = error <= tolerance  # false for NaN
    failures += not good
    print(f"{'ok    ' if good else 'FAILED'} {name}: {error:.2e} of {tolerance:.1e}")


def golden_file(name):
    with open(f"{root}/tests/golden/{name}.safetensors", "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    config = json.loads(header.pop("__metadata__")["config"])
    return config, {n: np.frombuffer(data[slice(*e["data_offsets"])], "<f4").reshape(e["shape"]) for n, e in header.items()}


def part(tensors, prefix):
    return {n[len(prefix):]: a for n, a in tensors.items() if n.startswith(prefix)}


def golden(name):
    """(model, x, target, y, gradients) of a golden file of frames, whose config has names of its own."""
    c, t = golden_file(name)
    config = {("saaf.enabled" if k == "saaf" else k.replace("saaf_has_v0", "saaf.v0").replace("saaf_", "saaf.")): v
              for k, v in c.items()}
    if name == "eq_net":  # its config has no words for the layers that it lacks
        config = {k: v for k, v in config.items() if not k.startswith("saaf.") and k not in ("dnn", "deconv", "activation")}
    model = cafx.Model(config, part(t, "param."), {"model": "eq_net" if name == "eq_net" else name.split("_")[0]})
    return model, t["x"], t["target"], t["supervised.y"], part(t, "supervised.grad.")


class LstmFromZero(cafx.Lstm):
    """As PyTorch begins it; with it the output depends on the weights through the samples alone, as the gradient has it."""

    def rest(self):
        return [(np.zeros(self.c["hidden"]),) * 2] * self.c["layers"]


def golden_streams():
    """(name, model, config, tensors) of what plays sample by sample, from states of zero."""
    cafx.TYPES["lstm"] = LstmFromZero
    for file in ("s4", "students"):
        configs, tensors = golden_file(file)
        for name, c in configs.items():
            t = part(tensors, name + ".")
            weights = {n: a for n, a in t.items() if "." in n and n.split(".")[0] not in ("grad", "loss")}
            kind = "lstm" if "hidden" in c else "s4" if file == "s4" else "wavenet"
            yield name, cafx.Model({**c, "rest_samples": 0}, weights, {"model": kind}), c, t


def relative_error(y, block, target, c):  # of arrays or tensors: tests/golden/make_students.py
    def energy(x):
        return (x[:, 0] ** 2 + ((x[:, 1:] - c["pre_emphasis"] * x[:, :-1]) ** 2).sum(1)) / x.shape[1]

    return (energy(y - block) / (energy(target) + (c["energy_floor"] + 1e-6) * c["mean_energy"])).mean()


def scaled(got, expected):
    """The largest error, as a part of the largest value (of 1e-6, if that is more)."""
    return np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-6)


def check_refusals():
    """Files that the C++ reader refuses are refused, each for its own reason."""
    f32 = lambda *v: np.array(v, "<f4").tobytes()
    entry = lambda a, b: '{"dtype":"F32","shape":[2],"data_offsets":[%d,%d]}' % (a, b)
    about = '"__metadata__":{"format":"cafx","form":"supervised","config":"{}"},'
    bodies = {
        "overlap": (about + f'"a":{entry(0, 8)},"b":{entry(4, 12)}', f32(1, 2, 3), "begins at byte 4, expected 8"),
        "hole": (about + f'"a":{entry(0, 8)},"b":{entry(12, 20)}', f32(1, 2, 3, 4, 5), "begins at byte 12"),
        "twice": (about + f'"a":{entry(0, 8)},"a":{entry(0, 8)}', f32(1, 2), "'a' stands twice"),
        "nan": (about + f'"a":{entry(0, 8)}', f32(1, np.nan), "no numbers"),
        "infinite": (about + f'"a":{entry(0, 8)}', f32(np.inf, 1), "no numbers"),
        "short": (about + f'"a":{entry(0, 8)}', f32(1), "bytes of data, expected 8"),
        "long": (about + f'"a":{entry(0, 8)}', f32(1, 2, 3), "bytes of data, expected 8"),
        "shape": (about + f'"a":{entry(0, 4)}', f32(1), "not of its shape"),
        "type": (about + '"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}', bytes(8), "F32"),
        "newer": (about.replace('"config"', '"format_version":"2","config"') + f'"a":{entry(0, 8)}', f32(1, 2), "model format 2 is not known"),
        "no config": (about.replace(',"config":"{}"', "") + f'"a":{entry(0, 8)}', f32(1, 2), "the config in its metadata is damaged"),
        "cut config": (about.replace('"{}"', '"{"') + f'"a":{entry(0, 8)}', f32(1, 2), "the config in its metadata is damaged"),
        "list config": (about.replace('"{}"', '"[]"') + f'"a":{entry(0, 8)}', f32(1, 2), "the config in its metadata is damaged"),
        "metadata": ('"__metadata__":{"format":1},' + f'"a":{entry(0, 8)}', f32(1, 2), "metadata"),
    }
    with tempfile.TemporaryDirectory() as work:
        def message(header, data):
            with open(f"{work}/m.safetensors", "wb") as f:
                f.write(len(header).to_bytes(8, "little") + header + data)
            try:
                cafx.load(f"{work}/m.safetensors")
            except ValueError as e:
                return str(e)
            return ""
        for name, (body, data, words) in bodies.items():
            got = message(("{" + body + "}").encode(), data)
            verdict(f"{name} is refused: {got[-60:]}", 0.0 if words in got else np.inf, 0.0)
        try:
            cafx.Model({}, {}, {"model": "hologram"})(np.zeros((1, 4)))
            got = ""
        except ValueError as e:
            got = str(e)
        named = "type hologram" in got and all(kind in got for kind in cafx.TYPES)
        verdict(f"a type that it has no forward pass for is refused: {got[:40]}", 0.0 if named else np.inf, 0.0)
        good = message(("{" + about + f'"a":{entry(0, 8)}' + "}").encode(), f32(1, 2))
        verdict(f"a sound one is read {good}", 0.0 if good == "" else np.inf, 0.0)
        for header in (b"", b"[]", b"{", b"\xff{}"):
            verdict(f"header {header} is refused", 0.0 if "damaged" in message(header, b"") else np.inf, 0.0)


def check_knobs():
    config = {"knobs": ["gain: -1.5..10dB", "mode: a|b|c", "bright: off|on"]}
    at = lambda **values: cafx.controls(config, values)
    verdict("knobs at their start", np.abs(np.subtract(at(), [0, 1, 0, 0, -1])).max(), 0.0)
    verdict("knobs that are turned", np.abs(np.subtract(at(gain=10, mode="c", bright="on"), [1, 0, 0, 1, 1])).max(), 0.0)
    ends = [cafx.controls({"knobs": ["drive: 0.7..1.1"]}, {"drive": np.float32(v)})[0] for v in (0.7, 1.1)]
    verdict("knobs at the ends of their range, as float32", np.abs(np.subtract(ends, [-1, 1])).max(), 0.0)
    for values, words in (({"gain": 10.5}, "range, -1.5 to 10.0"), ({"mode": "d"}, "none of a, b, c"), ({"tone": 1}, "no knob tone")):
        try:
            got = f"nothing, but {at(**values)}"
        except ValueError as e:
            got = str(e)
        verdict(f"refused: {got}", 0.0 if words in got else np.inf, 0.0)


NAMES = ["cafx_default", "cafx_paper", "cafx_journal", "cafx_odd", "cafx_plain", "cafx_dense", "eq_net", "crafx_published",
         "crafx_variant"]
if what == "numpy":
    check_refusals()
    check_knobs()
    for name in NAMES:
        model, x, _, y, _ = golden(name)
        verdict(f"{name}: y", scaled(model(x), y), 1e-6)
    for name, model, c, t in golden_streams():
        y = model(t["x"])
        if "y" in t:  # nablafx fills up the last block of FiLM with zeros, a stream hears silence there
            n = y.shape[1] // c["film_block"] * c["film_block"] if c["film"] == "temporal" else y.shape[1]
            verdict(f"{name}: y", scaled(y[:, :n], t["y"][:, :n]), 1e-6)
            continue
        for k in range(2):
            block = slice(k * c["block"], (k + 1) * c["block"])
            loss = relative_error(y[:, c["context"]:][:, block], t["target"][:, block], t["target"].astype(float), c)
            verdict(f"{name}: loss of block {k}", abs(loss / float(t[f"loss.{k}"][0]) - 1), 1e-6)
elif what == "torch":
    try:
        import torch
    except ImportError:
        print("skipped: PyTorch is not installed for this Python (python3-torch)")
        sys.exit(77)
    double = lambda a: torch.tensor(a, dtype=torch.float64)

    def module_of(name, model, x, y):
        """The module in double precision and its output, held against y and against NumPy."""
        net = cafx.torch_module(model)
        if sorted(net.state_dict()) != sorted(model.tensors):
            sys.exit(f"{name}: the state dict holds {sorted(net.state_dict())}")
        single = net(torch.tensor(x)).detach().numpy()
        out = net.double()(double(x))
        verdict(f"{name}: y in float32", scaled(single, y), 1e-5)
        verdict(f"{name}: y", scaled(out.detach().numpy(), y), 1e-6)
        verdict(f"{name}: y as NumPy has it", scaled(out.detach().numpy(), model(x)), 1e-7)
        return net, out

    def check_gradients(name, net, gradients):
        for tensor, p in net.named_parameters():  # none where a tensor leads nowhere: the last layer's of a WaveNet
            got = np.zeros(p.shape) if p.grad is None else p.grad.numpy()
            verdict(f"{name}: gradient of {tensor}", scaled(got, gradients[tensor]), 2e-6)

    for name in NAMES:
        model, x, target, y, gradients = golden(name)
        net, out = module_of(name, model, x, y)
        loss = (out - double(target)).abs().mean()
        for tensor, p in net.named_parameters():
            if "saaf." in tensor:
                loss = loss + model.config["saaf.l2"] * (p ** 2).sum()
        loss.backward()
        check_gradients(name, net, gradients)
    for name, model, c, t in golden_streams():
        if model.type == "lstm" or c.get("film") == "temporal":
            continue  # their gradients end where a block begins, or hear the end otherwise: below by differences
        k, block, context = 1, c.get("block", t["x"].shape[1]), c.get("context", 0)
        if model.type == "s4":
            k = 0
        x = t["x"][:, k * block:context + (k + 1) * block]
        net, out = module_of(name, model, x, model(x))
        target = double(t["target"])
        relative_error(out[:, context:], target[:, k * block:(k + 1) * block], target, c).backward()
        check_gradients(name, net, part(t, "grad." if model.type == "s4" else f"grad.{k}."))
    rng = np.random.default_rng(2)
    for name, (kind, c) in OTHERS.items():
        model = random_other(kind, c)
        if c.get("knobs"):
            model.turn(gain=8, mode="b")
        span = c.get("frame", 300) + sum(c.get(side, 0) for side in ("before", "after")) * c.get("context_hop", 0)
        x = np.stack([audio(span), audio(span, seed=8)])
        net, out = module_of(name, model, x, model(x))
        weights = rng.standard_normal(out.shape)
        (out * double(weights)).sum().backward()
        # Along a direction in all tensors: PyTorch's gradient and NumPy's difference.
        along = {n: rng.standard_normal(a.shape) for n, a in model.tensors.items()}
        slope = sum((p.grad.numpy() * along[n]).sum() for n, p in net.named_parameters() if p.grad is not None)
        moved = [cafx.Model(c, {n: a + step * along[n] for n, a in model.tensors.items()}, model.metadata) for step in (1e-6, -1e-6)]
        for m in moved:
            m.controls = model.controls
        difference = ((moved[0](x) - moved[1](x)) * weights).sum() / 2e-6
        verdict(f"{name}: slope {slope:.3f}, by differences {difference:.3f}", abs(slope / difference - 1), 1e-5)
else:
    def run(*arguments, fails=False):
        r = subprocess.run([binary, *arguments], capture_output=True, text=True)
        if (r.returncode != 0) != fails:
            sys.exit(f"cafx {' '.join(arguments)}: exit code {r.returncode}: {r.stderr}")
        return r.stdout + r.stderr

    note = audio(2500)
    with tempfile.TemporaryDirectory() as work:
        write_wav(f"{work}/in.wav", note)
        models = {name: random_model(settings) for name, settings in CASES.items()}
        models.update((name, random_other(*of)) for name, of in OTHERS.items())
        for name, model in models.items():
            cafx.save(f"{work}/m.safetensors", model.config, model.tensors, {**model.metadata, "licence": "CC0"})
            if "licence: CC0" not in run("info", f"{work}/m.safetensors"):
                sys.exit("cafx info does not show what Python wrote")
            hop = min(100, model.config["frame"] // 2) if "frame" in model.config else None
            options = ["--hop", str(hop)] if hop else []
            if model.config.get("knobs"):
                still = cafx.render(model, model.config, note, hop)
                model.turn(gain=9)
                options += ["--knob", "gain=9"]
                moved = np.abs(cafx.render(model, model.config, note, hop) - still).max()
                verdict(f"{name}: a knob is heard", 0.0 if moved > 1e-3 else np.inf, 0.0)
            run("render", f"{work}/m.safetensors", f"{work}/in.wav", f"{work}/out.wav", "--quiet", *options)
            expected = cafx.render(model, model.config, note, hop)
            loud = np.abs(expected).max()
            if not loud > 1e-3:
                sys.exit(f"{name}: the output is silent, which shows nothing")
            verdict(f"{name} (loudest {loud:.2f}): cafx render of a file from Python",
                    np.abs(read_wav(f"{work}/out.wav") - expected).max(), 1e-5)
            run("export", f"{work}/m.safetensors", "-o", f"{work}/again.safetensors")
            again = cafx.load(f"{work}/again.safetensors")
            same = sorted(again.tensors) == sorted(model.tensors) and all(
                np.array_equal(again.tensors[n], model.tensors[n]) for n in model.tensors)
            verdict(f"{name}: tensors through Python, cafx and Python", 0.0 if same else np.inf, 0.0)
        # Weights without cafx's metadata: cafx import, with the config on the command line.
        model = random_model(CASES["paper"])
        cafx.save(f"{work}/foreign.safetensors", {}, model.tensors)
        with open(f"{work}/foreign.safetensors", "rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
            data = f.read()
        header["__metadata__"] = {"format": "pt"}
        text = json.dumps(header).encode()
        with open(f"{work}/foreign.safetensors", "wb") as f:
            f.write(len(text).to_bytes(8, "little") + text + data)
        if "cafx import" not in run("info", f"{work}/foreign.safetensors", fails=True):
            sys.exit("the refusal does not name cafx import")
        settings = []
        for key, value in CASES["paper"].items():
            settings += ["--set", f"model.{key}={json.dumps(value) if not isinstance(value, str) else value}"]
        run("import", f"{work}/foreign.safetensors", *settings, "-o", f"{work}/m.safetensors")
        imported = cafx.load(f"{work}/m.safetensors")
        wrong = {k: (imported.config[k], v) for k, v in model.config.items() if imported.config[k] != v}
        verdict(f"imported config {wrong}", 0.0 if not wrong else np.inf, 0.0)
        run("render", f"{work}/m.safetensors", f"{work}/in.wav", f"{work}/out.wav", "--hop", "100", "--quiet")
        expected = cafx.render(model, model.config, note, 100)
        verdict("render of imported weights", np.abs(read_wav(f"{work}/out.wav") - expected).max(), 1e-5)
        for wrong, words in ((["--set", "model.filters=10", "--set", "model.dnn=[10]"], "shape"),
                             (["--set", "model.dnn=[12]"], "dnn.")):
            message = run("import", f"{work}/foreign.safetensors", *settings, *wrong, "-o", f"{work}/n.safetensors", fails=True)
            verdict(f"import of another shape is refused: {message.strip()}", 0.0 if words in message else np.inf, 0.0)
sys.exit(1 if failures else 0)
