#!/usr/bin/python3
"""cafx beside the field: every system learns the same recordings for the same time, and one implementation measures all.

    experiments/field/field.py --data NOTES --cafx build/cpu/host/cafx --budget 600 --threads 2       all systems on six devices
    experiments/field/field.py --data NOTES --devices ds1,ts9 --systems cafx-default,nam-nano --budget 20
    experiments/field/field.py --plan                                                                what would run, and for how long

NOTES is what datasets/generate/make_notes.py makes (its dry guitar notes are used; wet recordings are made here, recordings.py says how).
Results are kept in --out run by run: called again, it goes on, and prints the tables and draws the figure from all that is there.
Needs python3-numpy and the packages of make_notes.py; --venv FOLDER has the peers, and is made where it is missing.
"""
import argparse
import datetime
import json
import os
import shutil
import sys

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import metrics  # noqa: E402
import page  # noqa: E402
import recordings  # noqa: E402
import systems  # noqa: E402
from kept import keep, read  # noqa: E402


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cafx", default="cafx", metavar="PROGRAM")
    p.add_argument("--data", metavar="FOLDER", help="of make_notes.py")
    p.add_argument("--out", default="runs/field", metavar="FOLDER")
    p.add_argument("--venv", default="runs/field/venv", metavar="FOLDER", help="of the peers")
    p.add_argument("--devices", default=",".join(recordings.DEVICES))
    p.add_argument("--systems", default=",".join(systems.SYSTEMS))
    p.add_argument("--budget", type=float, default=60, metavar="SECONDS", help="of each training")
    p.add_argument("--clock", choices=["cpu", "wall"], default="cpu",
                   help="cpu: a second is a processor second of each thread, for machines that are busy with other work")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--notes", type=int, default=48, help="for training; an eighth as many for validation")
    p.add_argument("--plan", action="store_true", help="print what would run")
    p.add_argument("--report", action="store_true", help="only tables and figure, from what is there")
    a = p.parse_args()
    a.devices, a.systems = a.devices.split(","), a.systems.split(",")
    for given, known, name in ((a.devices, recordings.DEVICES, "devices"), (a.systems, systems.SYSTEMS, "systems")):
        wrong = [g for g in given if g not in known]
        if wrong:
            p.error("--%s: '%s' is none of %s" % (name, wrong[0], ", ".join(known)))
    if a.budget <= 0 or a.threads < 1 or a.notes < 8:
        p.error("--budget must be over 0, --threads at least 1, --notes at least 8")
    if not a.data and not (a.plan or a.report):
        p.error("--data FOLDER is missing: what datasets/generate/make_notes.py makes")
    return a


def run_folder(args, device, system):
    return os.path.join(args.out, "%gs-t%d" % (args.budget, args.threads), device, systems.trained_as(system))


def results_path(args, device, system):
    return os.path.join(run_folder(args, device, system), system + ".results.json")


def trained(args, data, about, device, system):
    """Trains where that has not been done to its end; the marks at which weights were kept."""
    folder = run_folder(args, device, system)
    done = os.path.join(folder, "trained.json")
    if not os.path.exists(done):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        more = systems.train(args, data, about, device, system, folder)
        more.update(date=datetime.date.today().isoformat(), clock=args.clock, budget=args.budget, threads=args.threads)
        keep(done, more)
    more = read(done)
    marks = os.path.join(folder, "marks.jsonl")
    if not os.path.exists(marks):
        return more, []
    with open(marks) as file:
        return more, [json.loads(line) for line in file]


def measure(args, data, about, device, system):
    """Plays the test recordings with the weights of every mark."""
    folder, path = run_folder(args, device, system), results_path(args, device, system)
    if os.path.exists(path):
        return
    more, marks = trained(args, data, about, device, system)
    targets = {n: metrics.read(os.path.join(data, device, n + ".wav"))[0] for n in about["pieces"]}
    kept = list(dict.fromkeys(m["weights"] for m in marks))
    output = lambda name, w: os.path.join(folder, "%s-%s.wav" % (name, w))
    files = {w: [(os.path.join(data, "dry", n + ".wav"), output(n, w)) for n in about["pieces"]] for w in kept}
    played = systems.render(args, system, [(os.path.join(folder, w), files[w]) for w in kept], folder) if kept else []
    known = {}
    for w, cost in zip(kept, played):
        found = {n: metrics.measured(about["pieces"][n], targets[n], metrics.read(output(n, w))[0]) for n in about["pieces"]}
        known[w] = {"quality": found, "played": cost}
    points = [dict(m, **known[m["weights"]]) for m in marks]
    if kept and systems.SYSTEMS[system][0] == "cafx":
        more["stream"] = systems.render_cafx(args, os.path.join(folder, kept[-1]), files[kept[-1]][-1:], stream=True)
    for _, out in (pair for w in kept for pair in files[w]):
        os.remove(out)
    keep(path, dict(more, device=device, system=system, points=points))


def plan(args):
    runs = dict.fromkeys((d, systems.trained_as(s)) for d in args.devices for s in args.systems)
    there = sum(os.path.exists(os.path.join(run_folder(args, *r), "trained.json")) for r in runs)
    for device, system in runs:
        print("%-10s %s" % (device, system))
    print("%d trainings of %g s on %d threads, %.1f hours at most; %d are done" %
          (len(runs), args.budget, args.threads, len(runs) * args.budget / 3600, there))


def main():
    args = arguments()
    if args.plan:
        return plan(args)
    data = os.path.join(args.out, "recordings-%d" % args.notes)
    if not args.report:
        about = recordings.made(data, args.data, args.devices, args.notes, max(1, args.notes // 8), 8)
        for device in args.devices:
            for system in args.systems:
                print("%s, %s" % (device, system), file=sys.stderr, flush=True)
                try:
                    measure(args, data, about, device, system)
                except systems.Failed as error:
                    print("failed: %s, %s: %s" % (device, system, error), file=sys.stderr, flush=True)
    found = []
    for device in args.devices:
        for system in args.systems:
            if os.path.exists(results_path(args, device, system)):
                found.append(read(results_path(args, device, system)))
    page.write(args, found)


if __name__ == "__main__":
    sys.exit(main())
