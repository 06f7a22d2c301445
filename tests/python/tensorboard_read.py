"""tensorboard_read.py CAFX PROJECT WORK: event files of cafx as TensorBoard's own readers see them.

WORK/whole is an undisturbed run, WORK/killed the same after many kill -9, WORK/scalars with scalars only, WORK/lost one whose
event file was deleted in the middle. Scalars are held against metrics.csv, histograms against the curves' formula in numpy,
audio against `cafx eval`.
"""
import csv
import io
import json
import struct
import subprocess
import sys
import wave

import numpy as np
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

cafx, root, work = sys.argv[1:4]
failures = 0


def check(ok, what):
    global failures
    if not ok:
        print("FAILED:", what)
        failures += 1


def events(run):
    """(step, tag, kind, bytes of the value), in the order of the file; every record of it."""
    path = f"{work}/{run}/events.out.tfevents"
    out, n_bytes = [], 0
    loader = list(LegacyEventFileLoader(path).Load())
    check(loader and loader[0].file_version == "brain.Event:2", f"{run}: the first event is no version")
    for e in loader:
        n_bytes += 16 + e.ByteSize()
        for v in e.summary.value:
            out.append((e.step, v.tag, v.WhichOneof("value"), v.SerializeToString()))
    # TensorBoard stops silently at a torn or damaged record: what it read must be the whole file.
    size = len(open(path, "rb").read())
    check(n_bytes == size, f"{run}: {n_bytes} of {size} bytes are events")
    return out


def scalars(all_events):
    from tensorboard.compat.proto import summary_pb2

    table = {}
    for step, tag, kind, raw in all_events:
        if kind == "simple_value":
            table.setdefault(tag, []).append((step, summary_pb2.Summary.Value.FromString(raw).simple_value))
    return table


def near(a, b):
    return abs(a - b) <= 1e-6 * abs(b) + 1e-12 or abs(a - b) <= 1e-5 * abs(b)  # csv: six digits; the event: a float


whole = events("whole")
rows = list(csv.DictReader(open(f"{work}/whole/metrics.csv")))
table = scalars(whole)
columns = {"loss/pretraining": ("training_mae", lambda r: r["stage"] == "pretrain"),
           "loss/training": ("training_mae", lambda r: r["stage"] != "pretrain"),
           "loss/validation": ("validation_mae", lambda r: r["stage"] != "pretrain"),
           "loss/best": ("best", lambda r: r["stage"] != "pretrain"),
           "optimizer/learning_rate": ("learning_rate", lambda r: True),
           "optimizer/gradient_norm": ("gradient_norm", lambda r: True),
           "saaf/penalty": ("saaf_penalty", lambda r: r["stage"] != "pretrain"),
           "saaf/lipschitz": ("saaf_lipschitz", lambda r: r["stage"] != "pretrain")}
check(set(table) == set(columns), f"tags {sorted(table)}")
for tag, (column, wanted) in columns.items():
    expected = [(int(r["steps"]), float(r[column])) for r in rows if wanted(r)]
    got = table.get(tag, [])
    check([s for s, _ in got] == [s for s, _ in expected], f"{tag}: steps {[s for s, _ in got]}")
    check(all(near(g, e) for (_, g), (_, e) in zip(got, expected)), f"{tag} differs from metrics.csv")

# Killed again and again: the same events, none twice, none torn, none missing.
killed = events("killed")
check(killed == whole, f"the killed run's events differ: {len(killed)} and {len(whole)}, first at "
      f"{next((i for i, (a, b) in enumerate(zip(killed, whole)) if a != b), None)}")
check([e for e in whole if e[2] == "simple_value"] == events("scalars"), "log.events = scalars holds something else")
lost = events("lost")
check(lost == whole[len(whole) - len(lost):] and 0 < len(lost) < len(whole), "a run whose event file was deleted")

# As TensorBoard shows it: every tag with its own plugin.
shown = plugin_event_accumulator.EventAccumulator(f"{work}/whole")
shown.Reload()
by_plugin = {p: sorted(shown.summary_metadata[t].plugin_data.plugin_name == p for t in shown.Tags()["tensors"]).count(True)
             for p in ("scalars", "histograms", "audio")}
notes = sorted({e[1].split("/")[1] for e in whole if e[2] == "audio"})
check(by_plugin == {"scalars": 8, "histograms": 2, "audio": 4 * len(notes)} and 1 <= len(notes) <= 2, f"plugins {by_plugin}")


def tensors(path, block):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:8 + n])
    return {k[len(block):]: np.frombuffer(data[8 + n:][slice(*v["data_offsets"])], "<f4").reshape(v["shape"]).astype(float)
            for k, v in head.items() if k.startswith(block)}


# The last histograms against the curves of the last weights, by the formula (kernels/saaf/saaf.h).
config = open(f"{work}/whole/config.toml").read()


def setting(name):
    return next(line.split("=")[1].split("#")[0].strip() for line in config.splitlines() if line.split("=")[0].strip() == name)


segments, lo, hi, scale = int(setting("saaf.segments")), float(setting("saaf.lo")), float(setting("saaf.hi")), float(setting("saaf.scale"))
weights = tensors(f"{work}/whole/checkpoint.safetensors", "model/")
v, w = weights["saaf.v"], weights["saaf.w"]
width = (hi - lo) / segments
x = lo + width * np.arange(segments + 1)
t = np.clip(x[:, None] - x[None, :-1], 0, None)
if setting("saaf.every_second") == "true":
    t = t[:, ::2]
if int(setting("saaf.order")) == 2:
    basis = np.where(t <= width, t**2 / 2, width**2 / 2 + width * (t - width))
else:
    basis = np.minimum(t, width)
v0, v1 = (v[0], v[1]) if len(v) == 2 else (0 * v[0], v[0])
values = v0 + v1 * x[:, None] + scale * basis @ w
from tensorboard.compat.proto import summary_pb2

for tag, expected in (("saaf/values", values), ("saaf/slopes", np.diff(values, axis=0) / width)):
    last = [e for e in whole if e[1] == tag][-1]
    check(last[0] == int(rows[-1]["steps"]), f"{tag}: last at step {last[0]}")
    check(len([e for e in whole if e[1] == tag]) == len([r for r in rows if r["stage"] != "pretrain"]), f"{tag}: not one an epoch")
    h = summary_pb2.Summary.Value.FromString(last[3]).histo
    for name, a, b in (("num", h.num, expected.size), ("min", h.min, expected.min()), ("max", h.max, expected.max()),
                       ("sum", h.sum, expected.sum()), ("sum of squares", h.sum_squares, (expected**2).sum())):
        check(abs(a - b) <= 1e-5 * max(1.0, abs(b)), f"{tag}: {name} {a}, numpy {b}")
    counts = np.histogram(expected, 30, (h.min, h.max))[0]
    check(sum(h.bucket) == expected.size and h.bucket[0] == 0, f"{tag}: the buckets hold {sum(h.bucket)}")
    check(np.abs(np.cumsum(h.bucket)[1:] - np.cumsum(counts)).max() <= 2, f"{tag}: buckets {list(h.bucket)}, numpy {list(counts)}")

# Audio: what the best weights say, with the same error that `cafx eval` finds.
measured = subprocess.run([cafx, "eval", f"{work}/whole", "--part", "validation", "--json", "-"], capture_output=True, text=True, check=True)
measured = {n["note"]: n for n in json.loads(measured.stdout)["notes"]}


def samples(run_events, tag):
    found = [e for e in run_events if e[1] == tag]
    a = summary_pb2.Summary.Value.FromString(found[-1][3]).audio
    with wave.open(io.BytesIO(a.encoded_audio_string)) as f:
        check((f.getframerate(), f.getnchannels(), f.getsampwidth()) == (16000, 1, 2) and a.sample_rate == 16000 and
              a.length_frames == f.getnframes() and a.content_type == "audio/wav", f"{tag}: the WAV's head")
        return len(found), np.frombuffer(f.readframes(f.getnframes()), "<i2") / 32767.0


for note in notes:
    n_dry, dry = samples(whole, f"audio/{note}/dry")
    n_target, target = samples(whole, f"audio/{note}/target")
    n_model, model = samples(whole, f"audio/{note}/model")
    n_pre, pretrained = samples(whole, f"audio/{note}/pretrained")
    check((n_dry, n_target, n_model, n_pre) == (1, 1, 2, 1), f"{note}: {n_dry}, {n_target}, {n_model}, {n_pre} pieces")
    check(len(dry) == len(target) == len(model) == len(pretrained), f"{note}: lengths")
    peak = max(np.abs(dry).max(), np.abs(target).max())
    check(abs(peak - 0.7) < 1e-4, f"{note}: peak {peak}")
    esr = ((target - model)**2).sum() / (target**2).sum()
    want = measured[note]["esr"]
    check(abs(esr - want) <= 1e-3 * want, f"{note}: ESR {esr} in the event file, cafx eval says {want}")
    check(np.abs(dry - pretrained).mean() < np.abs(dry).mean(), f"{note}: the pretrained model does not give back the note")
    print(f"{note}: ESR {esr:.5f} from the event file, {want:.5f} from cafx eval")
size = len(open(f"{work}/whole/events.out.tfevents", "rb").read())
print(f"{len(whole)} events, {len(table)} scalars, {size // 1000} kB")
sys.exit(1 if failures else 0)
