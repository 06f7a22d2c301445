#!/usr/bin/env python3
"""What a precision does to the final error of three effects, over seeds, in one table.

    experiments/precision/effects.py --data FOLDER --plan      the runs, and those that are there
    experiments/precision/effects.py --data FOLDER             all of them, then the table
    experiments/precision/effects.py --data FOLDER --table     the table of those that are there

FOLDER is what datasets/generate/make_notes.py makes. Each effect, seed and precision is one training of the same notes of a guitar, the
same frames in the same order; the model is then measured in fp32. A seed's difference to its own fp32 run is that of the precision, as
far as two trainings that round differently can be compared at all: the spread over seeds, in the same table, says how far that is.
Without --isa a CPU multiplies bf16 by its units, if it has them, and leaves the latent layers in fp32; with --isa avx2 it emulates all
that a GPU rounds.
"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "recipe"))
sys.path.insert(0, os.path.join(HERE, "..", "memory"))
from memory import interval  # noqa: E402
from recipe import DEVICES, call, keep, read, subset  # noqa: E402

EFFECTS = {"ds1": DEVICES["ds1"], "amplifier": ["data.effect=EQ", "data.setting=2"], "fxchain1": DEVICES["fxchain1"]}


def folder_of(args, effect, precision, seed):
    return os.path.join(args.out, "%s-%s%s-%d-%d" % (effect, precision, "-" + args.isa if args.isa else "", args.epochs, seed))


def runs_of(args):
    return [(e, p, s) for s in range(1, args.seeds + 1) for e in args.effects.split(",") for p in args.precisions.split(",")]


def esr(args, data, effect, precision, seed):
    """Mean ESR of the test notes of a run, which is made, resumed or read."""
    folder = folder_of(args, effect, precision, seed)
    done = os.path.join(folder, "precision.json")
    if not os.path.exists(done):
        common = ["--quiet", "--threads", str(args.threads)] + (["--isa", args.isa] if args.isa else [])
        settings = ["data.instrument=guitar", "data.validation=0.09", "data.test=0.17", "train.hop=%d" % args.hop,
                    "train.pretrain_epochs=1", "train.epochs=%d" % args.epochs, "train.refine_epochs=0", "train.seed=%d" % seed]
        words = [w for s in settings + EFFECTS[effect] for w in ("--set", s)] + ["--precision", precision, "--preset", args.preset]
        resumed = os.path.exists(os.path.join(folder, "checkpoint.safetensors"))
        start = ["resume", folder] if resumed else ["train", data, "--out", folder] + words
        call([args.cafx] + start + common, stdout=subprocess.PIPE)
        out = call([args.cafx, "eval", folder, "--json", "-", "--threads", str(args.threads)], stdout=subprocess.PIPE)
        keep(done, {"esr": json.loads(out)["mean"]["esr"]})
    return read(done)["esr"]


def table(args):
    there = {}
    for run in runs_of(args):
        path = os.path.join(folder_of(args, *run), "precision.json")
        if os.path.exists(path):
            there[run] = read(path)["esr"]
    shown = lambda mean, half: "%.5f" % mean + ("" if half is None else " ± %.5f" % half)
    lines = ["| effect | precision | seeds | ESR | difference to fp32, seed by seed |", "| --- | --- | --- | --- | --- |"]
    for effect in args.effects.split(","):
        for precision in args.precisions.split(","):
            seeds = [s for s in range(1, args.seeds + 1) if (effect, precision, s) in there]
            if not seeds:
                continue
            pairs = [there[effect, precision, s] - there[effect, "fp32", s] for s in seeds if (effect, "fp32", s) in there]
            mean, half = interval([there[effect, precision, s] for s in seeds])
            to_fp32 = "" if precision == "fp32" or not pairs else "%+.5f" % interval(pairs)[0] + (
                "" if len(pairs) < 2 else " ± %.5f" % interval(pairs)[1])
            lines.append("| %s | %s | %d | %s | %s |" % (effect, precision, len(seeds), shown(mean, half), to_fp32))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cafx", default="cafx")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default="runs/precision")
    parser.add_argument("--effects", default=",".join(EFFECTS))
    parser.add_argument("--precisions", default="fp32,bf16,fp16")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--isa", default="", help="avx2: bf16 emulated where the processor has units")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--notes", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--hop", type=int, default=128)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.plan:
        for run in runs_of(args):
            there = os.path.exists(os.path.join(folder_of(args, *run), "precision.json"))
            print("%-10s %-5s seed %d  %s" % (run + ("there" if there else "to run",)))
        return 0
    if not args.table:
        data = subset(args.data, os.path.join(args.out, "notes-%d" % args.notes), args.notes, "guitar")
        for effect, precision, seed in runs_of(args):
            print("%s, %s, seed %d: ESR %.5f" % (effect, precision, seed, esr(args, data, effect, precision, seed)), file=sys.stderr, flush=True)
    print(table(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
