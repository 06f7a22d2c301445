"""Holds python/cafx.py against the golden files, and against cafx in both directions.

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
from models import CASES, audio, random_model, read_wav, write_wav  # noqa: E402

if not os.path.samefile(os.path.dirname(cafx.__file__), os.path.join(root, "python")):
    sys.exit(f"another cafx was imported: {cafx.__file__}")
failures = 0


def verdict(name, error, tolerance):
    global failures
    good = error <= tolerance  # false for NaN
    failures += not good
    print(f"{'ok    ' if good else 'FAILED'} {name}: {error:.2e} of {tolerance:.1e}")


def golden(name):
    """(model, x, target, y, gradients) of a golden file, whose config has names of its own."""
    with open(f"{root}/tests/golden/{name}.safetensors", "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    c = json.loads(header.pop("__metadata__")["config"])
    t = {n: np.frombuffer(data[slice(*e["data_offsets"])], "<f4").reshape(e["shape"]) for n, e in header.items()}
    config = {("saaf.enabled" if k == "saaf" else k.replace("saaf_has_v0", "saaf.v0").replace("saaf_", "saaf.")): v
              for k, v in c.items()}
    if name == "eq_net":  # its config has no words for the layers that it lacks
        config = {k: v for k, v in config.items() if not k.startswith("saaf.") and k not in ("dnn", "deconv", "activation")}
    part = lambda prefix: {n[len(prefix):]: a for n, a in t.items() if n.startswith(prefix)}
    model = cafx.Model(config, part("param."), {"model": "eq_net" if name == "eq_net" else "cafx"})
    return model, t["x"], t["target"], t["supervised.y"], part("supervised.grad.")


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
            cafx.Model({}, {}, {"model": "lstm"})(np.zeros((1, 4)))
            got = ""
        except ValueError as e:
            got = str(e)
        verdict(f"a type that it has no forward pass for is refused: {got[:40]}", 0.0 if "type lstm" in got else np.inf, 0.0)
        good = message(("{" + about + f'"a":{entry(0, 8)}' + "}").encode(), f32(1, 2))
        verdict(f"a sound one is read {good}", 0.0 if good == "" else np.inf, 0.0)
        for header in (b"", b"[]", b"{", b"\xff{}"):
            verdict(f"header {header} is refused", 0.0 if "damaged" in message(header, b"") else np.inf, 0.0)


NAMES = ["cafx_default", "cafx_paper", "cafx_journal", "cafx_odd", "cafx_plain", "cafx_dense", "eq_net"]
if what == "numpy":
    check_refusals()
    for name in NAMES:
        model, x, _, y, _ = golden(name)
        verdict(f"{name}: y", scaled(model(x), y), 1e-6)
elif what == "torch":
    try:
        import torch
    except ImportError:
        print("skipped: PyTorch is not installed for this Python (python3-torch)")
        sys.exit(77)
    for name in NAMES:
        model, x, target, y, gradients = golden(name)
        net = cafx.torch_module(model)
        if sorted(net.state_dict()) != sorted(model.tensors):
            sys.exit(f"{name}: the state dict holds {sorted(net.state_dict())}")
        single = net(torch.tensor(x)).detach().numpy()
        verdict(f"{name}: y in float32", scaled(single, y), 1e-5)
        net = net.double()
        out = net(torch.tensor(x, dtype=torch.float64))
        verdict(f"{name}: y", scaled(out.detach().numpy(), y), 1e-6)
        verdict(f"{name}: y as NumPy has it", scaled(out.detach().numpy(), model(x)), 1e-7)
        loss = (out - torch.tensor(target, dtype=torch.float64)).abs().mean()
        if model.config.get("saaf.enabled"):
            loss = loss + model.config["saaf.l2"] * ((net.saaf.w ** 2).sum() + (net.saaf.v ** 2).sum())
        loss.backward()
        for tensor, p in net.named_parameters():
            verdict(f"{name}: gradient of {tensor}", scaled(p.grad.numpy(), gradients[tensor]), 2e-6)
else:
    def run(*arguments, fails=False):
        r = subprocess.run([binary, *arguments], capture_output=True, text=True)
        if (r.returncode != 0) != fails:
            sys.exit(f"cafx {' '.join(arguments)}: exit code {r.returncode}: {r.stderr}")
        return r.stdout + r.stderr

    note = audio(2500)
    with tempfile.TemporaryDirectory() as work:
        write_wav(f"{work}/in.wav", note)
        for name, settings in CASES.items():
            model = random_model(settings)
            cafx.save(f"{work}/m.safetensors", model.config, model.tensors, {"licence": "CC0"})
            if "licence: CC0" not in run("info", f"{work}/m.safetensors"):
                sys.exit("cafx info does not show what Python wrote")
            hop = min(100, model.config["frame"] // 2)
            turned = ["--knob", "gain=9"] if settings.get("knobs") else []
            if turned:
                still = model(note[None, :model.config["frame"]])
                model.turn(gain=9)
                moved = np.abs(model(note[None, :model.config["frame"]]) - still).max()
                verdict(f"{name}: a knob is heard", 0.0 if moved > 1e-3 else np.inf, 0.0)
            run("render", f"{work}/m.safetensors", f"{work}/in.wav", f"{work}/out.wav", "--hop", str(hop), "--quiet", *turned)
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
