#!/usr/bin/env python3
"""What keeps a model honest that learns from one minute: the same notes, the same devices, one regulariser at a time, in one table.

    experiments/small_data/small_data.py --data FOLDER --plan        the runs, and those that are there
    experiments/small_data/small_data.py --data FOLDER --table       the table of those that are there
    experiments/small_data/small_data.py --data FOLDER               all of them, one after the other, then the table
    experiments/small_data/small_data.py --data FOLDER --devices ds1 --ways usual,ema200 --epochs 4

FOLDER is what datasets/generate/make_notes.py makes. Of 60 notes of two seconds, evenly spread over the instrument, 30 are learned
from, 10 validate and 20 are the test: preset `default`, --hop, --epochs. Every run takes as many steps: with copies of the notes it has
fewer epochs. Runs are kept in --out, resumed where they were stopped, and not made again; the table holds what is there. Each number is
measured with the finished model over whole notes of a part: mean ESR and mean absolute error.
"""
import argparse
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "recipe"))
from recipe import DEVICES, call, keep, read, subset  # noqa: E402

NOTES, PARTS = 60, ["data.validation=0.1667", "data.test=0.3333"]
# Of recipe.py's devices, a distortion, an amplifier and a chain.
SMALL = {"ds1": DEVICES["ds1"], "amplifier": ["data.effect=EQ", "data.setting=2"], "fxchain1": DEVICES["fxchain1"]}
# Changes against the usual run; /N: so many times fewer epochs, which the copies make up for.
WAYS = {
    "usual": [],
    "another seed": ["train.seed=2"],
    "ema200": ["train.ema=200"],
    "ema1000": ["train.ema=1000"],
    "dropout.02": ["model.dropout=0.02"],
    "dropout.1": ["model.dropout=0.1"],
    "l2 1e-5": ["model.saaf.l2=1e-5"],
    "l2 1e-4": ["model.saaf.l2=1e-4"],
    "lipschitz1": ["model.saaf.lipschitz=1"],
    "decay1e-2": ["train.weight_decay=1e-2"],
    "shifts2": ["data.shift_copies=2", "/3"],
    "levels2": ["data.level_copies=2", "data.level_range_db=6", "/3"],
}
ONLY = {"levels2": ["fxchain1"]}  # the others' wet audio was recorded


def runs_of(args):
    wanted = [(d, w) for w in args.ways.split(",") for d in args.devices.split(",")]
    return [(d, w) for d, w in wanted if d in ONLY.get(w, [d])]


def folder_of(args, device, way):
    return os.path.join(args.out, "%s-%s-%d-%d" % (device, way.replace(" ", "-"), args.hop, args.epochs))


def settings_of(args, device, way):
    epochs = args.epochs
    changes = []
    for change in WAYS[way]:
        if change[0] == "/":
            epochs = epochs // int(change[1:])
        else:
            changes.append(change)
    return PARTS + ["data.instrument=" + args.instrument, "train.hop=%d" % args.hop, "train.pretrain_epochs=%d" % args.pretrain,
                    "train.epochs=%d" % epochs, "train.refine_epochs=0"] + SMALL[device] + changes


def cafx(args, *words):
    # Its children are as considerate of the machine as the caller: call this script under nice.
    return call([args.cafx] + [str(w) for w in words], stdout=subprocess.PIPE)


def measured(args, data, device, way):
    """The numbers of a run, which is made, resumed or read."""
    folder = folder_of(args, device, way)
    done = os.path.join(folder, "small_data.json")
    if not os.path.exists(done):
        common = ["--json", "--quiet", "--threads", args.threads]
        if os.path.exists(os.path.join(folder, "checkpoint.safetensors")):
            cafx(args, "resume", folder, *common)
        else:
            settings = [word for s in settings_of(args, device, way) for word in ("--set", s)]
            cafx(args, "train", data, "--out", folder, *common, *settings)
        result = {}
        for part in ("train", "validation", "test"):
            # Of copies the originals alone.
            originals = [word for c in WAYS[way] if "_copies" in c for word in ("--set", c.split("=")[0] + "=0")]
            mean = json.loads(cafx(args, "eval", folder, "--part", part, "--threads", args.threads, "--json", "-", *originals))["mean"]
            result[part] = {"esr": mean["esr"], "mae": mean["mae"]}
        keep(done, result)
    return read(done)


def table(args):
    """All runs that are done, a row each; in the last column the test's ESR over that of the usual run of the device."""
    lines = ["| device | way | training MAE | ESR | validation MAE | ESR | test MAE | ESR | over usual |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    done = {}
    for device, way in runs_of(args):
        path = os.path.join(folder_of(args, device, way), "small_data.json")
        if os.path.exists(path):
            done[device, way] = read(path)
    for device in args.devices.split(","):
        for way in args.ways.split(","):
            if (device, way) not in done:
                continue
            r, usual = done[device, way], done.get((device, "usual"))
            cells = ["%.5f" % r[part][key] for part in ("train", "validation", "test") for key in ("mae", "esr")]
            cells.append("%.2f" % (r["test"]["esr"] / usual["test"]["esr"]) if usual else "")
            lines.append("| %s | %s | %s |" % (device, way, " | ".join(cells)))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cafx", default="cafx")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default="runs/small_data")
    parser.add_argument("--instrument", default="guitar", choices=["guitar", "bass"])
    parser.add_argument("--devices", default=",".join(SMALL))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--hop", type=int, default=128)
    parser.add_argument("--pretrain", type=int, default=2, help="epochs of pretraining")
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--plan", action="store_true", help="say what would be run")
    parser.add_argument("--table", action="store_true", help="print the table of the runs that are done")
    args = parser.parse_args()
    if args.table:
        print(table(args))
        return 0
    if args.plan:
        for device, way in runs_of(args):
            there = os.path.exists(os.path.join(folder_of(args, device, way), "small_data.json"))
            print("%-10s %-13s %-7s %s" % (device, way, "there" if there else "to run", " ".join(settings_of(args, device, way))))
        return 0
    data = subset(args.data, os.path.join(args.out, "notes-%d" % NOTES), NOTES, args.instrument)
    for device, way in runs_of(args):
        r = measured(args, data, device, way)
        print("%s, %s: ESR %.5f of the test notes" % (device, way, r["test"]["esr"]), file=sys.stderr, flush=True)
    print(table(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
