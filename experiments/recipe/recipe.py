#!/usr/bin/env python3
"""What a training recipe is worth: the same notes, the same devices, one change at a time, in one table.

    experiments/recipe/recipe.py --data FOLDER                       six devices, every recipe, one after the other
    experiments/recipe/recipe.py --data FOLDER --devices ds1 --recipes usual,pretrain0 --epochs 8 --notes 12
    experiments/recipe/recipe.py --data FOLDER --until 0.01 --recipes "today,pretrain2,pretrain2 ema500"
    experiments/recipe/recipe.py --data FOLDER --whole --recipes "today,today seed2,pretrain2"

FOLDER is what datasets/generate/make_notes.py makes. Every run stops on the ESR of its validation notes as they play, so metrics.csv
has it after each epoch. A row: frames of supervised training, processor seconds of the whole run, those until the validation's ESR was
.01, and the mean ESR of the test notes. Processor seconds are user time of all threads: a machine that is busy with other work slows
the clock, and them less. Runs are kept in --out and not made again.

With --until a run has the preset's own epochs, so that its rates fall as slowly as in a whole training, and is stopped at the first
validation at or under that ESR, or after --cap processor seconds. A row: epochs and processor seconds until then. With --whole the same
recipes are trained to the end.
"""
import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from kept import keep, read  # noqa: E402
from program import call  # noqa: E402

DEVICES = {
    "ds1": ["data.effect=Distortion", "data.setting=2"],
    "muff": ["data.effect=Distortion", "data.setting=3"],
    "high-gain": ["data.effect=EQ", "data.setting=3"],
    "fxchain1": ["data.effect=FxChain", "data.setting=1", "data.chain=fxchain1"],
    "ts9": ["data.effect=Overdrive", "data.setting=1"],
    "compressor": ["data.effect=FxChain", "data.setting=1", "data.chain=compand 0.003,0.15 6:-70,-70,-50,-38,-20,-20,0,-14"],
}
# Changes against a run of 2 epochs of pretraining, then --epochs of training with the default preset. An epoch of pretraining goes over
# dry and wet notes and costs about as much as one of training: what a recipe leaves out of it, it trains longer.
RECIPES = {
    "usual": [],
    "another seed": ["train.seed=2"],
    "pretrain0": ["train.pretrain_epochs=0", "train.epochs=+2"],
    "pretrain1": ["train.pretrain_epochs=1", "train.epochs=+1"],
    "lr6e-3": ["train.lr=6e-3"],
    "lr10e-3": ["train.lr=1e-2", "train.clip_norm=1"],
    "batch8": ["train.batch=8"],
    "batch32": ["train.batch=32", "train.lr=6e-3"],
    "hop128": ["train.hop=128", "train.epochs=*2", "train.pretrain_epochs=4"],
    "warmup800": ["train.warmup_steps=800"],
    "ema500": ["train.ema=500"],
    "refine": ["train.refine_epochs=+1", "train.epochs=+-1"],
    "full": ["preset=full"],
}
# Of --until and --whole: changes against the preset as it is.
PRESET = {
    "today": [],
    "today seed2": ["train.seed=2"],
    "pretrain2": ["train.pretrain_epochs=2"],
    "pretrain2 seed2": ["train.pretrain_epochs=2", "train.seed=2"],
    "pretrain0": ["train.pretrain_epochs=0"],
    "pretrain2 ema200": ["train.pretrain_epochs=2", "train.ema=200"],
    "pretrain2 ema500": ["train.pretrain_epochs=2", "train.ema=500"],
    "pretrain2 ema500 lr6e-3": ["train.pretrain_epochs=2", "train.ema=500", "train.lr=6e-3"],
    "pretrain2 lr6e-3": ["train.pretrain_epochs=2", "train.lr=6e-3"],
    "pretrain2 batch8": ["train.pretrain_epochs=2", "train.batch=8"],
}


def settings_of(recipe, epochs):
    """Settings of a run as KEY=VALUE; +N and *N change the number of epochs."""
    values = {"train.pretrain_epochs": 2, "train.epochs": epochs, "train.refine_epochs": 0}
    for setting in RECIPES[recipe]:
        key, value = setting.split("=", 1)
        if value[:1] == "+":
            values[key] = values.get(key, 0) + int(value[1:])
        elif value[:1] == "*":
            values[key] = values[key] * int(value[1:])
        else:
            values[key] = value
    return ["%s=%s" % item for item in values.items()]


def subset(data, folder, n, instrument):
    """A folder with every so many-th note of FOLDER, as links."""
    names = {"guitar": "Gitarre monophon", "bass": "Bass monophon"}[instrument]
    dry = sorted(os.listdir(os.path.join(data, names, "Samples", "NoFX")))
    kept = {dry[(k * len(dry) + len(dry) // 2) // n][:9] for k in range(min(n, len(dry)))}
    for part in (names, names + "2"):
        top = os.path.join(data, part, "Samples")
        for effect in os.listdir(top) if os.path.isdir(top) else []:
            os.makedirs(os.path.join(folder, part, "Samples", effect), exist_ok=True)
            for name in os.listdir(os.path.join(top, effect)):
                link = os.path.join(folder, part, "Samples", effect, name)
                if name[:9] in kept and not os.path.lexists(link):
                    os.symlink(os.path.abspath(os.path.join(top, effect, name)), link)
    return folder


def run(args, data, device, recipe):
    """The run of a recipe on a device: its folder and what it took."""
    folder = os.path.join(args.out, "%s-%s-%s" % (device, recipe.replace(" ", "-"), "whole" if args.whole else args.epochs))
    done = os.path.join(folder, "recipe.json")
    if os.path.exists(done):
        return folder, read(done)
    settings = ["data.instrument=" + args.instrument, "data.validation=0.09", "data.test=0.17", "train.stop_on=esr"]
    settings += DEVICES[device] + (PRESET[recipe] if args.whole else settings_of(recipe, args.epochs))
    command = [args.cafx, "train", data, "--json", "--quiet", "--threads", str(args.threads), "--out", folder]
    if os.path.exists(os.path.join(folder, "checkpoint.safetensors")):
        command = [args.cafx, "resume", folder, "--json", "--quiet", "--threads", str(args.threads)]
    else:
        for s in settings:
            command += ["--set", s]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    out = call(command, stdout=subprocess.PIPE)
    result = {"cpu": resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, "result": json.loads(out)}
    keep(done, result)
    return folder, result


def reached(folder, esr):
    """Supervised epochs until the validation's ESR was at or under `esr`; None: it was not."""
    try:
        with open(os.path.join(folder, "metrics.csv")) as file:
            lines = [l for l in csv.DictReader(file) if l["stage"] != "pretrain"]
    except OSError:
        return None
    return next((n for n, l in enumerate(lines, 1) if l.get("validation_esr") and float(l["validation_esr"]) <= esr), None)


def run_until(args, data, device, recipe):
    """Epochs (None: not reached) and processor seconds of a run that is stopped where --until or --cap says."""
    folder = os.path.join(args.out, "%s-until%g-%s" % (device, args.until, recipe.replace(" ", "-")))
    done = os.path.join(folder, "until.json")
    if not os.path.exists(done):
        shutil.rmtree(folder, ignore_errors=True)  # one that was stopped elsewhere has lost its seconds
        settings = ["data.instrument=" + args.instrument, "data.validation=0.09", "data.test=0.17", "train.stop_on=esr"]
        words = [w for s in settings + DEVICES[device] + PRESET[recipe] for w in ("--set", s)]
        command = [args.cafx, "train", data, "--quiet", "--threads", str(args.threads), "--out", folder] + words
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds, epochs = 0.0, None
        while process.poll() is None and epochs is None and seconds < args.cap:
            time.sleep(0.2)
            try:
                with open("/proc/%d/stat" % process.pid) as file:
                    seconds = int(file.read().rsplit(")", 1)[1].split()[11]) / os.sysconf("SC_CLK_TCK")
            except (OSError, IndexError):
                break
            epochs = reached(folder, args.until)
        process.terminate()
        process.wait()
        if seconds == 0.0:
            raise SystemExit("%s: no training" % folder)
        keep(done, {"epochs": epochs, "seconds": seconds})
    result = read(done)
    return result["epochs"], result["seconds"]


def row(folder, result):
    """Frames of supervised training, processor seconds, those until ESR .01, ESR of the test notes."""
    with open(os.path.join(folder, "metrics.csv")) as file:
        lines = list(csv.DictReader(file))
    with open(os.path.join(folder, "config.toml")) as file:
        batch = int(next(line for line in file if line.startswith("batch")).split("=")[1].split("#")[0])
    pretrained = max([int(l["steps"]) for l in lines if l["stage"] == "pretrain"], default=0)
    cost = lambda steps: min(steps, pretrained) * 0.5 + max(0, steps - pretrained)  # a step of pretraining costs half
    total = int(lines[-1]["steps"])
    reached = next((int(l["steps"]) for l in lines if l.get("validation_esr") and float(l["validation_esr"]) <= 0.01), None)
    until = "not reached" if reached is None else "%.0f" % (result["cpu"] * cost(reached) / cost(total))
    return (total - pretrained) * batch, result["cpu"], until, result["result"]["test"]["mean"]["esr"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cafx", default="cafx")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default="runs/recipe")
    parser.add_argument("--instrument", default="guitar", choices=["guitar", "bass"])
    parser.add_argument("--devices", default=",".join(DEVICES))
    parser.add_argument("--recipes", help="names of the table; all of the kind without it")
    parser.add_argument("--epochs", type=int, default=12)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--until", type=float, default=0.0, help="stop at this ESR")
    kind.add_argument("--whole", action="store_true", help="the preset's own epochs, to the end")
    parser.add_argument("--cap", type=float, default=400.0, help="of --until: processor seconds of a run at most")
    parser.add_argument("--notes", type=int, default=24, help="of the instrument, evenly spread")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    recipes = list(PRESET if args.whole or args.until > 0.0 else RECIPES) if args.recipes is None else args.recipes.split(",")
    data = subset(args.data, os.path.join(args.out, "notes-%d" % args.notes), args.notes, args.instrument)
    if args.until > 0.0:
        print("| device | recipe | epochs to ESR %g | processor s |" % args.until)
        print("| --- | --- | --- | --- |", flush=True)
        for device in args.devices.split(","):
            for recipe in recipes:
                epochs, seconds = run_until(args, data, device, recipe)
                print("| %s | %s | %s | %s |" % (device, recipe, "not reached" if epochs is None else epochs,
                                                 "over %.0f" % seconds if epochs is None else "%.0f" % seconds), flush=True)
        return 0
    print("| device | recipe | supervised frames | processor s | processor s to ESR .01 | ESR, test notes |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for device in args.devices.split(","):
        for recipe in recipes:
            frames, cpu, until, esr = row(*run(args, data, device, recipe))
            print("| %s | %s | %d | %.0f | %s | %.5f |" % (device, recipe, frames, cpu, until, esr), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
