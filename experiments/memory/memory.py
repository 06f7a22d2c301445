#!/usr/bin/env python3
"""Which model for which device: nine devices, six models, the same processor seconds for each training, in one table.

    experiments/memory/memory.py --data FOLDER                                  54 trainings of a minute, then the table
    experiments/memory/memory.py --data FOLDER --devices compressor,tremolo --models default,s4-tf-l --budget 20 --plan

FOLDER is what datasets/generate/make_notes.py makes. A training's budget is in processor seconds (user and system time of all
threads), which a machine that is busy with other work stretches less than the clock. Each model's cost of an epoch is measured first, by
two short trainings, and kept in --costs; its epochs follow from the budget, at least one. With the costs of another machine the epochs
are that machine's. Runs are kept in --out and their results in --rows: killed anywhere, the same command goes on.
"""
import argparse
import json
import math
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "recipe"))
from recipe import keep, read, subset  # noqa: E402

# What is recorded in the notes, and SoX chains that cafx runs itself. The notes peak at -22 dB: curves bend at about -40 dB.
DEVICES = {
    "distortion": ["data.effect=Distortion", "data.setting=2"],
    "overdrive": ["data.effect=Overdrive", "data.setting=1"],
    "amplifier": ["data.effect=EQ", "data.setting=3"],
    "fxchain": ["data.chain=fxchain1"],
    "compressor": ["data.chain=compand 0.005,0.15 6:-70,-60,-50,-30,-25,-14,-12,-8 0 -90 0.005"],
    "limiter": ["data.chain=compand 0.001,0.08 -90,-90,-36,-36,-16,-34,0,-33"],
    "tremolo": ["data.chain=tremolo 5 60"],
    "phaser": ["data.chain=phaser 0.8 0.74 3 0.4 0.5 -t"],
    "chorus": ["data.chain=chorus 0.7 0.9 25 0.4 0.5 2 -t"],
}
# Beside them, where --devices or --heard asks for them.
MORE = {
    "distortion1": ["data.effect=Distortion", "data.setting=1"], "distortion3": ["data.effect=Distortion", "data.setting=3"],
    "overdrive2": ["data.effect=Overdrive", "data.setting=2"], "overdrive3": ["data.effect=Overdrive", "data.setting=3"],
    "amplifier1": ["data.effect=EQ", "data.setting=1"], "amplifier2": ["data.effect=EQ", "data.setting=2"],
    "fxchain2": ["data.chain=fxchain2"], "fxchain3": ["data.chain=fxchain3"],
    "slow compressor": ["data.chain=compand 0.02,0.4 6:-70,-70,-45,-40,-20,-32,0,-26"],
    "slow tremolo": ["data.chain=tremolo 1.2 70"], "flanger": ["data.chain=flanger 0 3 0 71 0.7"],
    "echo": ["data.chain=echo 0.8 0.9 120 0.5"],
    "overdriven compressor": ["data.chain=gain 16 overdrive 20 0 compand 0.005,0.15 6:-70,-70,-50,-38,-20,-20,0,-14 gain -10"],
    "overdriven tremolo": ["data.chain=overdrive 30 0 tremolo 5 60"],
    "high-pass": ["data.chain=highpass 400"], "low-pass": ["data.chain=lowpass 2000"],
}
ALL = {**DEVICES, **MORE}
MODELS = ["default", "crafx-small", "lstm", "wavenet", "s4-l", "s4-tf-l"]
# Of the mean over test notes: key in the result, heading, decimals.
METRICS = [("esr", "ESR", 4), ("mr_stft", "MR-STFT", 3), ("ms_mse", "modulation", 3), ("attack_db", "attack dB", 2),
           ("decay_db", "release dB", 2)]
CALIBRATION = (1, 3)  # epochs of the two short trainings
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}  # quantile .975


def call(command):
    """Standard output and processor seconds of a command."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("memory.py: ended with %d: %s" % (process.returncode, " ".join(command)))
    return out, usage.ru_utime + usage.ru_stime


def notes_of(args, instrument):
    return subset(args.data, os.path.join(args.out, "notes-%d-%s" % (args.notes, instrument)), args.notes, instrument)


def settings_of(args, device, model, epochs, seed):
    return (["preset=" + model, "model.sample_rate=16000", "data.instrument=" + args.instrument, "data.validation=0.09", "data.test=0.17",
             "train.pretrain_epochs=0", "train.refine_epochs=0", "train.epochs=%d" % epochs, "train.seed=%d" % seed,
             "log.events=off"] + ALL[device])


def trained(args, folder, settings):
    """Trains in a folder, or goes on there: the result and processor seconds, None where earlier sittings had some of them."""
    common = ["--json", "--quiet", "--threads", str(args.threads)]
    if os.path.exists(os.path.join(folder, "checkpoint.safetensors")):
        return call([args.cafx, "resume", folder] + common)[0], None
    command = [args.cafx, "train", args.notes_folder, "--out", folder] + common
    for s in settings:
        command += ["--set", s]
    return call(command)


def costs_of(args, model):
    """Processor seconds of an epoch and of the rest on so many notes, percent of one core at 48 kHz and latency in samples, both in
    blocks of 64; measured once: all devices have the same dry notes, and an epoch's cost grows with their number."""
    costs = read(args.costs) if os.path.exists(args.costs) else {}
    if model not in costs:
        seconds = []
        for epochs in CALIBRATION:
            folder = os.path.join(args.out, "calibration", "%s-%d-%d" % (model, args.notes, epochs))
            shutil.rmtree(folder, ignore_errors=True)
            seconds.append(trained(args, folder, settings_of(args, "compressor", model, epochs, 1))[1])
        per_epoch = max(0.01, (seconds[1] - seconds[0]) / (CALIBRATION[1] - CALIBRATION[0]))
        played = json.loads(call([args.cafx, "bench", "--realtime", "--preset", model, "--seconds", "2", "--json"])[0])[0]
        costs[model] = {"notes": args.notes, "epoch": per_epoch, "rest": max(0.0, seconds[0] - per_epoch * CALIBRATION[0]),
                        "percent_of_core": played["cafx"]["percent_of_core"], "latency": played["latency"]}
        keep(args.costs, costs)
    cost, times = costs[model], args.notes / costs[model]["notes"]
    return {**cost, "epoch": times * cost["epoch"], "rest": times * cost["rest"]}


def dry_of(notes):
    """Means over test notes of what the dry notes themselves score."""
    return {key: sum(n["dry"][key] for n in notes) / len(notes) for key, _, _ in METRICS}


def folder_of(args, device, model, seed):
    return os.path.join(args.out, "%s-%s-%d-%ds-%d-%s" % (device, model, seed, args.budget, args.notes, args.instrument))


def which(args, device, model, seed):
    return {"device": device, "model": model, "seed": seed, "budget": args.budget, "notes": args.notes, "instrument": args.instrument}


def rows_of(args):
    """What is done, of all budgets and seeds."""
    if not os.path.exists(args.rows):
        return []
    with open(args.rows) as file:
        return [json.loads(line) for line in file]


def done(rows, wanted):
    return next((r for r in rows if all(r[key] == value for key, value in wanted.items())), None)


def run(args, device, model, seed, epochs):
    """The row of a training, which is made where --rows lacks it."""
    wanted = which(args, device, model, seed)
    row = done(rows_of(args), wanted)
    if row is None:
        out, cpu = trained(args, folder_of(args, device, model, seed), settings_of(args, device, model, epochs, seed))
        result = json.loads(out)
        mean = result["test"]["mean"]
        row = {**wanted, "epochs": epochs, "processor_seconds": cpu, "test": {key: mean[key] for key, _, _ in METRICS},
               "dry": dry_of(result["test"]["notes"]), "parameters": result["parameters"]}
        with open(args.rows, "a") as file:
            file.write(json.dumps(row) + "\n")
    return row


def interval(values):
    """Mean and half width of its 95 % interval; None for one value."""
    n, mean = len(values), sum(values) / len(values)
    if n < 2:
        return mean, None
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return mean, STUDENT.get(n - 1, 2.2) * deviation / math.sqrt(n)


def number(values, decimals):
    mean, half = interval(values)
    return "%.*f" % (decimals, mean) + ("" if half is None else " ± %.*f" % (decimals, half))


def table(args, rows):
    """Markdown: a table for each device, then the ESR of all side by side."""
    size = "%d notes of %s, %d processor seconds a training, %d seed%s" % (
        args.notes, args.instrument, args.budget, args.seeds, "" if args.seeds == 1 else "s")
    lines = ["# Which model for which device", "", size + ". " + (
        "Errors are means over test notes%s." % ("" if args.seeds == 1 else ", and over seeds with their 95 % interval"))]
    if args.budget < 300 or args.seeds < 3:
        lines += ["", "**Too small to judge**: a training of this length has not converged, and %s. Read it as a rehearsal." %
                  ("one seed has no interval" if args.seeds == 1 else "few seeds have wide intervals")]
    models = [m for m in args.models if any(r["model"] == m for r in rows)]
    lines += ["", "| ESR | dry notes | " + " | ".join(models) + " |", "| --- | --- |" + " --- |" * len(models)]
    for device in args.devices:
        of = {m: [r["test"]["esr"] for r in rows if r["device"] == device and r["model"] == m] for m in models}
        means = {m: sum(v) / len(v) for m, v in of.items() if v}
        if not means:
            continue
        least = min(means.values())
        cells = ["-" if not of[m] else ("**%s**" if means[m] == least else "%s") % number(of[m], 4) for m in models]
        dry = next(r["dry"]["esr"] for r in rows if r["device"] == device)
        lines.append("| %s | %.3g | " % (device, dry) + " | ".join(cells) + " |")
    lines += ["", "| | parameters | processor s of an epoch | one core, at 48 kHz | latency |", "| --- | --- | --- | --- | --- |"]
    for m in models:
        cost = costs_of(args, m)
        parameters = next(r["parameters"] for r in rows if r["model"] == m)
        lines.append(
            "| `%s` | %d | %.2f | %.1f %% | %d samples, %.0f ms at 16 kHz |" % (
                m, parameters, cost["epoch"], cost["percent_of_core"], cost["latency"], cost["latency"] / 16.0))
    for device in args.devices:
        of_device = [r for r in rows if r["device"] == device]
        if not of_device:
            continue
        lines += ["", "## " + device, "", "`%s`" % " ".join(ALL[device]), "",
                  "| model | epochs | processor s | " + " | ".join(h for _, h, _ in METRICS) + " |",
                  "| --- |" + " --- |" * (2 + len(METRICS))]
        for m in models:
            group = [r for r in of_device if r["model"] == m]
            if group:
                known = [r["processor_seconds"] for r in group if r["processor_seconds"] is not None]
                seconds = "%.0f" % (sum(known) / len(known)) if known else "-"
                lines.append("| `%s` | %d | %s | " % (m, group[0]["epochs"], seconds) +
                             " | ".join(number([r["test"][k] for r in group], d) for k, _, d in METRICS) + " |")
    return "\n".join(lines) + "\n"


def heard(args):
    """A row for each device: what cafx hears in its recordings, and the preset that follows."""
    print("| device | stretches | filter's error | of half a second | a gain leaves | gain moves | untold by the moment | by the second before | kind | preset |")
    print("| --- |" + " --- |" * 9)
    for instrument in ("guitar", "bass"):
        notes = notes_of(args, instrument)
        for device in ALL:
            command = [args.cafx, "data", "check", notes, "--preset", "auto", "--json"]
            for s in ["data.instrument=" + instrument, "data.validation=0.09", "data.test=0.17"] + ALL[device]:
                command += ["--set", s]
            choice = json.loads(call(command)[0])["auto"]
            h = choice["heard"]
            share = (h["untold_db"] / h["gain_db"]) ** 2 if h["gain_db"] > 0 else 0
            print("| %s, %s | %d | %.2g | %.2g | %.0f %% | %.2f dB | %.2f dB (%.0f %%) | %.2f dB | %s | `%s` |" % (
                device, instrument, h["stretches"], h["linear_esr"], h["long_esr"], 100 * h["gain_share"], h["gain_db"], h["untold_db"], 100 * share,
                h["unheard_db"], choice["kind"], choice["preset"]), flush=True)
    return 0


def chosen(text, known, what):
    names = text.split(",")
    for name in names:
        if name not in known:
            raise SystemExit("memory.py: no %s '%s'; known are %s" % (what, name, ", ".join(known)))
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cafx", default="cafx")
    parser.add_argument("--data", required=True, help="what datasets/generate/make_notes.py made")
    parser.add_argument("--out", default="runs/memory")
    parser.add_argument("--devices", default=",".join(DEVICES))
    parser.add_argument("--models", default=",".join(MODELS), help="presets")
    parser.add_argument("--budget", type=int, default=60, help="processor seconds of a training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--notes", type=int, default=72, help="of the instrument, evenly spread; a quarter is kept back")
    parser.add_argument("--instrument", default="guitar", choices=["guitar", "bass"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--costs", help="file with each model's cost of an epoch, measured where it lacks one (default: in --out)")
    parser.add_argument("--rows", help="file with the results, a line each (default: in --out)")
    parser.add_argument("--heard", action="store_true", help="train nothing: what `--preset auto` hears of each device, as a table")
    parser.add_argument("--table", action="store_true", help="train nothing: the table of what is there")
    parser.add_argument("--plan", action="store_true", help="say how long it would take; only costs of epochs are measured")
    args = parser.parse_args()
    args.devices = chosen(args.devices, list(ALL), "device")
    args.models = args.models.split(",")
    if args.heard:
        return heard(args)
    args.costs = args.costs or os.path.join(args.out, "costs.json")
    args.rows = args.rows or os.path.join(args.out, "rows.jsonl")
    args.notes_folder = notes_of(args, args.instrument)
    epochs, total = {}, 0.0
    for model in args.models:
        cost = costs_of(args, model)
        epochs[model] = max(1, round(args.budget / cost["epoch"]))
        each = epochs[model] * cost["epoch"] + cost["rest"]
        total += each * len(args.devices) * args.seeds
        print("%-12s %8.2f s an epoch, %4d epochs, %6.1f s with loading and measuring" % (model, cost["epoch"], epochs[model], each),
              flush=True)
    n = len(args.devices) * len(args.models) * args.seeds
    print("%d trainings, %.0f processor minutes in all; runs are kept in %s" % (n, total / 60, args.out), flush=True)
    if args.plan:
        return 0
    rows = []
    for seed in range(1, args.seeds + 1):
        for device in args.devices:
            for model in args.models:
                if args.table and done(rows_of(args), which(args, device, model, seed)) is None:
                    continue
                rows.append(run(args, device, model, seed, epochs[model]))
                print("%3d of %d: %s, %s, seed %d: ESR %.5f" % (len(rows), n, device, model, seed, rows[-1]["test"]["esr"]), flush=True)
                with open(os.path.join(args.out, "report.md"), "w") as file:
                    file.write(table(args, rows))
    print("%s/report.md" % args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
