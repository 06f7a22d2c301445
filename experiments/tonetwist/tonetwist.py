#!/usr/bin/python3
"""The table of ToneTwist AFx (arXiv 2502.14405) with cafx: models x devices x four weightings of the loss, beside what was published.

    experiments/tonetwist/tonetwist.py FOLDER --cafx build/cpu/host/cafx --plan          what would be trained, and how long that takes
    experiments/tonetwist/tonetwist.py FOLDER --cafx build/cpu/host/cafx                 trains, measures, prints the table
    experiments/tonetwist/tonetwist.py FOLDER --devices Ibanez-TS9 --models s4-l,s4-s --device cuda

FOLDER is the data set as it is downloaded, with ANALOG, EXTERNAL and so on, or a part of it. Each model is one sweep of `cafx sweep`:
killed anywhere, a second call goes on, and what is done is not done again. README.md says what is as in the publication and what is not.
"""
import argparse
import csv
import json
import math
import os
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from kept import keep, read  # noqa: E402
from program import call  # noqa: E402

STEPS, BATCH, SECONDS = 15000, 16, 3  # at most, as published
WEIGHTS = [[0.5, 0.5], [1, 0.1], [5, 5], [10, 1]]  # of L1 and MR-STFT
S4 = {"train.lr": 0.01, "train.block": 0, "train.burn_in": 4096}  # a step for each batch of whole segments
# Model: preset of cafx, its settings. Those that the publication has under the same name have its sizes and rates.
MODELS = {
    "lstm-32": ("lstm", {"model.hidden": 32, "train.lr": 0.001, "train.block": 4800}),
    "lstm-96": ("lstm", {"model.hidden": 96, "train.lr": 0.001, "train.block": 4800}),
    "s4-s": ("s4-s", S4),
    "s4-l": ("s4-l", S4),
    "s4-tf-l": ("s4-tf-l", S4),
    "wavenet": ("wavenet", {}),
    "cafx": ("full-48k", {}),
}
NOT_HERE = ["tcn-45-s", "gcn-250-l"]  # published models that cafx does not have


def published():
    """Setting of each device and published ESR of each model on it."""
    with open(os.path.join(HERE, "published.tsv")) as file:
        rows = list(csv.reader(file, delimiter="\t"))
    devices = rows[0][1:]
    values = {r[0]: dict(zip(devices, r[1:])) for r in rows[1:]}
    return values.pop("setting"), values


def knobs(setting):
    """Conditions of data.select for a setting such as V050_MNormal."""
    found = []
    for part in setting.split("_"):
        value = part[1:]
        found.append("%s=%s" % (part[0], "%g" % (int(value) / 100) if value.isdigit() else value))
    return found


def frames(path):
    """Length and rate of a WAV file, from its header."""
    with open(path, "rb") as file:
        head = file.read(12)
        rate = align = 0
        while head[:4] in (b"RIFF", b"RF64"):
            chunk = file.read(8)
            if len(chunk) < 8:
                break
            size = struct.unpack("<I", chunk[4:])[0]
            if chunk[:4] == b"fmt ":
                body = file.read(size + (size & 1))
                rate, align = struct.unpack("<I", body[4:8])[0], struct.unpack("<H", body[12:14])[0]
            elif chunk[:4] == b"data":
                return min(size, os.path.getsize(path) - file.tell()) // max(1, align), rate
            else:
                file.seek(size + (size & 1), 1)
    raise SystemExit("%s: is no WAV file" % path)


def is_dry(name):
    return name.upper().startswith("DRY")


def found_devices(folder):
    """Device: (folder that holds it beside its dry files, {setting: seconds of its training part}), by the names on disk."""
    found = {}
    for top, folders, _ in os.walk(folder):
        if "trainval" not in folders or is_dry(os.path.basename(top)):
            continue
        if not any(is_dry(d) for d in os.listdir(os.path.dirname(top))):
            continue
        settings = {}
        trainval = os.path.join(top, "trainval")
        for setting in sorted(os.listdir(trainval)):
            inside = os.path.join(trainval, setting)
            wet = [os.path.join(inside, n) for n in os.listdir(inside) if n.endswith(".target.wav")] if os.path.isdir(inside) else []
            if wet:
                settings[setting] = sum(n / rate for n, rate in map(frames, wet))
        if settings:
            found[os.path.basename(top)] = (os.path.dirname(top), settings)
    return found


def chosen(args):
    """Device: (folder, setting, seconds). A published device has its published setting, another one the first that it has."""
    found, settings = found_devices(args.folder), published()[0]
    if not found:
        raise SystemExit("%s: has no DEVICE/trainval/SETTING/*.target.wav beside a folder DRY...; ToneTwist AFx has" % args.folder)
    names = args.devices.split(",") if args.devices else [d for d in settings if d in found] or sorted(found)
    picked = {}
    for name in names:
        if name not in found:
            raise SystemExit("%s: has no device %s; it has %s" % (args.folder, name, ", ".join(sorted(found))))
        folder, there = found[name]
        setting = settings.get(name, sorted(there)[0])
        if setting not in there:
            raise SystemExit("%s: %s has no setting %s; it has %s" % (args.folder, name, setting, ", ".join(sorted(there))))
        picked[name] = (folder, setting, there[setting])
    return picked


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else "%g" % value


def sweep_file(args, model, devices):
    """Writes the sweep of a model; its path."""
    preset, settings = MODELS[model]
    values = {"data.reader": "tonetwist", "data.segment_seconds": SECONDS, "data.validation": 0.1, "train.batch": BATCH,
              "train.refine_epochs": 0, "train.patience": 50}
    if preset == "full-48k":  # frames: its own recipe and stages
        values = {k: v for k, v in values.items() if k.startswith("data.")}
    else:
        values.update({"train.segment_seconds": SECONDS, "train.schedule": "plateau", "train.plateau_patience": 20,
                       "train.plateau_factor": 0.5})
    values.update(settings)
    values.update({"train.loss.esr": 0, "train.loss.dc": 0, "train.loss.pre_emphasis": 0})  # L1 and MR-STFT alone, whatever the preset has
    for setting in args.set:
        key, _, value = setting.partition("=")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    lines = ['# Written by tonetwist.py.', 'name = "%s"' % model, 'preset = "%s"' % preset, ""]
    for section in ("model", "data", "train"):
        mine = {k[len(section) + 1:]: v for k, v in values.items() if k.startswith(section + ".")}
        if mine:
            lines += ["[%s]" % section] + ["%s = %s" % (k, toml(v)) for k, v in mine.items()] + [""]
    keys, rows = "data.path+data.select", []
    for name, (folder, setting, seconds) in devices.items():
        rows.append([os.path.abspath(folder), ["device=" + name] + knobs(setting)])
        if preset != "full-48k" and "train.epochs" not in values:
            keys = "data.path+data.select+train.epochs"
            rows[-1].append(max(1, math.floor(STEPS * BATCH * SECONDS / (0.9 * seconds))))
    lines += ["[axes]", '"%s" = %s' % (keys, toml(rows)), '"train.loss.mae+train.loss.mr_stft" = %s' % toml(WEIGHTS), ""]
    if preset == "full-48k":
        lines += ["[pretrain]", "train.loss.mae = 1", "train.loss.mr_stft = 0", ""]  # one for all four weightings
    lines += ["[sweep]", "store = %s" % toml(os.path.abspath(os.path.join(args.out, "runs"))), ""]
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, model + ".toml")
    with open(path + ".part", "w") as file:
        file.write("\n".join(lines))
    os.replace(path + ".part", path)
    return path


def measured(args, run):
    """Mean ESR and MR-STFT of the test part's clips of 5 s, and mean ESR of the validation part; kept in the run."""
    kept = os.path.join(run, "tonetwist.json")
    if not os.path.exists(kept):
        result = {}
        for part, seconds in (("test", 5), ("validation", SECONDS)):
            clips = ["--part", part, "--set", "data.segment_seconds=%d" % seconds]
            out = call([args.cafx, "eval", run, "--json", "-", "--device", args.device] + clips, stdout=subprocess.PIPE)
            mean = json.loads(out)["mean"]
            result[part] = {"esr": mean["esr"], "mr_stft": mean["mr_stft"]}
        keep(kept, result)
    return read(kept)


def results(args, model, devices):
    """Device: [(weights, measurement)] of what has been trained."""
    text = call([args.cafx, "sweep", "run", sweep_file(args, model, devices), "--json", "--quiet", "--device", args.device,
                 "--threads", str(args.threads)], stdout=subprocess.PIPE)
    found = {}
    for row in json.loads(text)["runs"]:
        if row["kind"] == "train" and row["state"] == "done":
            at = row["settings"]
            weights = [at["train.loss.mae"], at["train.loss.mr_stft"]]
            device = at["data.select"][0].partition("=")[2]
            found.setdefault(device, []).append((weights, measured(args, os.path.join(args.out, "runs", row["run"]))))
        elif row["state"] != "done":
            print("%s: %s; cafx sweep status tells more" % (row["run"], row["state"]), file=sys.stderr)
    return found


def table(args, all_results, devices):
    _, values = published()
    lines = ["| device | model | published | best of four | chosen by validation | L1, MR-STFT | MR-STFT |", "|" + " --- |" * 7]
    for device in devices:
        for model in list(all_results) + NOT_HERE:
            there = values.get(model, {}).get(device, "-")
            mine = all_results.get(model, {}).get(device, [])
            if not mine and there == "-":
                continue
            if mine:
                best = min(mine, key=lambda r: r[1]["test"]["esr"])
                by_validation = min(mine, key=lambda r: r[1]["validation"]["esr"])
                ours = ["%.4f" % best[1]["test"]["esr"], "%.4f" % by_validation[1]["test"]["esr"], "%g, %g" % tuple(best[0]),
                        "%.3f" % best[1]["test"]["mr_stft"]]
            else:
                ours = ["-"] * 4
            lines.append("| %s | %s | %s | %s |" % (device, model, there, " | ".join(ours)))
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", help="of the data set")
    p.add_argument("--cafx", default="cafx", metavar="PROGRAM")
    p.add_argument("--out", default="runs/tonetwist", metavar="FOLDER")
    p.add_argument("--models", default=",".join(MODELS))
    p.add_argument("--devices", default="", help="by the names of their folders; those of the published table by default")
    p.add_argument("--device", default="auto", help="what trains: cpu, cuda, auto")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another setting of every training")
    p.add_argument("--plan", action="store_true", help="train nothing; what would be trained")
    args = p.parse_args()
    models = args.models.split(",")
    wrong = [m for m in models if m not in MODELS]
    if wrong:
        p.error("--models: '%s' is none of %s" % (wrong[0], ", ".join(MODELS)))
    devices = chosen(args)
    if args.plan:
        for model in models:
            call([args.cafx, "sweep", "plan", sweep_file(args, model, devices), "--device", args.device, "--lines", "8"])
        return
    all_results = {model: results(args, model, devices) for model in models}
    text = table(args, all_results, devices)
    with open(os.path.join(args.out, "table.md"), "w") as file:
        file.write(text + "\n")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
