"""A trained model of every type, exported, in NumPy alone (python/cafx.py) reproduces what `cafx render` makes of a note, to 1e-5;
S4 to 3e-5, whose oscillators add up single precision for thousands of samples.

Usage: numpy_forward.py CAFX PROJECT_FOLDER.  Exit code 77: skipped, with the reason.
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("skipped: numpy is not installed (python3-numpy)")
    sys.exit(77)

sys.path.insert(0, os.path.join(sys.argv[2], "python"))
import cafx  # noqa: E402
from models import read_wav, write_wav  # noqa: E402


def main():
    binary, root = sys.argv[1:3]
    rng = np.random.default_rng(5)
    t = np.arange(3001) / 16000
    note = 0.3 * np.sin(2 * np.pi * 220 * t) * np.exp(-6 * t) + 0.01 * rng.standard_normal(len(t))
    worst = 0.0
    with tempfile.TemporaryDirectory() as work:
        note = note.astype("<f4")
        write_wav(f"{work}/note.wav", note)
        small = ["model.frame=256", "model.hop=128", "model.filters=12", "model.latent=16", "model.taps=17",
                 "model.local_taps=30", "train.epochs=2", "train.pretrain_epochs=1", "train.refine_epochs=0"]
        one = ["train.epochs=1", "train.pretrain_epochs=0", "train.refine_epochs=0"]
        crafx = ["model.context_hop=128", "model.before=2", "model.after=1", "model.lstm=[7,6]", "model.dnn=[9,12]"]
        short = [s for s in small if not s.startswith("model.latent")]
        cases = {  # preset, settings
            "default": ("default", small + ["model.dnn=[12,10,12]"]),
            "paper": ("paper", small + ["model.dnn=[12,7,7,12]"]),
            "journal": ("journal", small + ["model.dnn=[12,7,7,7,12]", "model.pool=16", "train.epochs=1"]),
            "order 1": ("default", small + ["model.dnn=[12,12]", "model.saaf.order=1", "model.activation=tanh"]),
            "dense latent": ("default", small + ["model.dnn=[12,12]", "model.latent_layer=dense"]),
            "no saaf": ("default", small + ["model.dnn=[12,12]", "model.saaf.enabled=false", "model.unpool=positions"]),
            "eq-net": ("eq-net-small", small),
            "crafx": ("crafx-small", short + crafx),
            "lstm": ("lstm-lite", one),
            "wavenet": ("wavenet-nano", one),
            "s4": ("s4-s", one),
            "s4 with temporal FiLM": ("s4-tf-s", one),
        }
        for name, (preset, settings) in cases.items():
            command = [binary, "train", "--preset", preset, "--quiet", "--device", "cpu", "--out", f"{work}/{name}"]
            data = [f"data.path={root}/datasets/notes", "data.setting=2", "train.lr=0.001"]
            if "model.frame=256" in settings:
                data.append("train.hop=256")
            for s in settings + data:
                command += ["--set", s]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            subprocess.run([binary, "export", f"{work}/{name}", "-o", f"{work}/m.safetensors"], check=True, stdout=subprocess.DEVNULL)
            model = cafx.load(f"{work}/m.safetensors")
            hop = ["--hop", "100"] if "frame" in model.config else []
            subprocess.run([binary, "render", f"{work}/m.safetensors", f"{work}/note.wav", f"{work}/out.wav", "--quiet", *hop], check=True)
            expected, got = cafx.render(model, model.config, note, 100), read_wav(f"{work}/out.wav")
            error = np.abs(expected - got).max() if len(got) == len(expected) else np.inf
            loud = np.abs(expected).max()
            print(f"{name}: largest difference {error:.2e}, loudest sample {loud:.3f}")
            if not loud > 1e-4:
                print("the output is silent, which shows nothing")
                return 1
            worst = max(worst, error / (3e-5 if name.startswith("s4") else 1e-5))
    return 0 if worst <= 1 else 1


sys.exit(main())
