"""The systems of field.py: how each is trained for a budget, and how it plays."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import metrics

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from kept import keep, read  # noqa: E402

MARKS = [1 / 12, 1 / 6, 1 / 3, 1 / 2, 3 / 4, 1]  # of the budget: where weights are kept
PACKAGES = ["torch==2.6.0", "torchaudio==2.6.0", "torchvision==0.21.0", "neural-amp-modeler==0.13.0", "nablafx==1.0.0"]
# System: family, what it trains (its own name where it trains alone), preset of cafx or network.
SYSTEMS = {"cafx-default": ("cafx", "default"), "cafx-full": ("cafx", "full"), "cafx-lstm": ("cafx", "lstm"),
           "cafx-wavenet": ("cafx", "wavenet"), "cafx-s4-s": ("cafx", "s4-s"), "cafx-s4-l": ("cafx", "s4-l"),
           "cafx-s4-tf-l": ("cafx", "s4-tf-l"),
           "nam-standard": ("nam", "nam-standard"), "nam-lite": ("nam", "nam-lite"), "nam-feather": ("nam", "nam-feather"),
           "nam-nano": ("nam", "nam-nano"), "nam-a2": ("nam", "nam-a2"), "nam-a2-small": ("nam", "nam-a2"),
           "nablafx-s4-s": ("nablafx", "nablafx-s4-s"), "nablafx-s4-l": ("nablafx", "nablafx-s4-l"),
           "nablafx-s4-tf-l": ("nablafx", "nablafx-s4-tf-l"), "nablafx-lstm-32": ("nablafx", "nablafx-lstm-32")}
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    pass


def processor_seconds(pid):
    """User and system time of a process, its threads included; none where it is gone."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / TICK


def environment(args):
    return dict(os.environ, OMP_NUM_THREADS=str(args.threads), CAFX_CHECKPOINT_SECONDS="1", WANDB_MODE="disabled")


def python_of(args):
    """The interpreter that has the peers; its environment is made where it is missing."""
    python = os.path.join(args.venv, "bin", "python")
    ready = os.path.join(args.venv, "field-ready")
    if not os.path.exists(ready):
        print("installing the peers in %s (7 GB)" % args.venv, file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", args.venv], check=True)
        pip = [os.path.join(args.venv, "bin", "pip"), "install", "--quiet", "--no-cache-dir"]
        subprocess.run(pip + PACKAGES, check=True)
        subprocess.run(pip + ["--no-deps", "rational-activations==0.2.0"], check=True)  # as nablafx asks for it
        with open(ready, "w") as file:
            file.write("\n".join(PACKAGES) + "\n")
    return python


# -- cafx ------------------------------------------------------------------------------------------------------------------------------


def manifest(data, about, device, path, part=1):
    """A table for cafx's reader: the take's two parts, or one of so many parts of them."""
    dry, wet = (os.path.abspath(os.path.join(data, side, "take.wav")) for side in ("dry", device))
    rate = about["rate"]
    start, stop = about["validation_start"] / rate, about["seconds"]["take"]
    with open(path, "w") as file:
        file.write("dry,wet,split,start,stop\n")
        file.write("%s,%s,train,0,%.6f\n" % (dry, wet, about["train_stop"] / rate / part))
        file.write("%s,%s,validation,%.6f,%.6f\n" % (dry, wet, start, start + (stop - start) / part))


def last_row(folder):
    """Stage and steps of the last row of metrics.csv."""
    try:
        with open(os.path.join(folder, "metrics.csv")) as file:
            rows = [line.split(",") for line in file if line.endswith("\n")][1:]
    except OSError:
        return None
    return (rows[-1][0], int(rows[-1][2]), len(rows)) if rows else None


def cafx_started(args, table, preset, folder, epochs):
    command = [args.cafx, "train", table, "--preset", preset, "--out", folder, "--quiet", "--threads", str(args.threads), "--device", "cpu"]
    for stage, n in epochs.items():
        command += ["--set", "train.%s=%d" % (stage, n)]
    with open(folder + ".log", "w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment(args))


def epochs_of(folder):
    """Epochs of the stages in a run's config."""
    found = {}
    with open(os.path.join(folder, "config.toml")) as file:
        for line in file:
            key, _, value = line.partition("=")
            if key.strip() in ("pretrain_epochs", "epochs", "refine_epochs"):
                found[key.strip()] = int(value.split("#")[0])
    return found


def epoch_costs(args, data, about, device, preset):
    """Epochs that a preset has by default, and processor seconds of one, from short runs on an eighth of the take."""
    kept = os.path.join(args.out, "costs-%s-t%d-n%d.json" % (preset, args.threads, args.notes))
    if os.path.exists(kept):
        return read(kept)
    folder, part = os.path.join(args.out, "costs", preset), 8
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    table = os.path.join(folder, "take.csv")
    manifest(data, about, device, table, part)
    process = cafx_started(args, table, preset, os.path.join(folder, "default"), {})
    while process.poll() is None and not os.path.exists(os.path.join(folder, "default", "config.toml")):
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.wait()
    try:
        defaults = epochs_of(os.path.join(folder, "default"))
    except OSError:
        raise Failed("%s.log: cafx does not train" % os.path.join(folder, "default"))

    def seconds(pretrain, train):
        run = os.path.join(folder, "%d+%d" % (pretrain, train))
        before = os.times().children_user + os.times().children_system
        if cafx_started(args, table, preset, run, {"pretrain_epochs": pretrain, "epochs": train, "refine_epochs": 0}).wait():
            raise Failed("%s.log: cafx could not be timed" % run)
        return os.times().children_user + os.times().children_system - before

    one = seconds(0, 1)
    costs = {"defaults": defaults, "pretrain": part * (seconds(1, 1) - one) if defaults["pretrain_epochs"] else 0.0,
             "train": part * (seconds(0, 4) - one) / 3}
    keep(kept, costs)
    return costs


def epochs_for(costs, seconds):
    """A preset's numbers of epochs, all by one factor, so that they fit the seconds; at least one epoch of training."""
    defaults = costs["defaults"]
    whole = defaults["pretrain_epochs"] * costs["pretrain"] + (defaults["epochs"] + defaults["refine_epochs"]) * costs["train"]
    factor = min(1.0, seconds / max(1e-9, whole))
    n = {k: int(factor * v) for k, v in defaults.items()}
    left = seconds - n["pretrain_epochs"] * costs["pretrain"] - n["refine_epochs"] * costs["train"]
    n["epochs"] = max(1, n["epochs"], min(defaults["epochs"], int(left / max(1e-9, costs["train"]))))
    return n


def train_cafx(args, data, about, device, preset, folder):
    table = os.path.join(folder, "take.csv")
    manifest(data, about, device, table)
    costs = epoch_costs(args, data, about, device, preset)
    epochs = epochs_for(costs, 0.93 * args.budget * args.threads)
    run = os.path.join(folder, "run")
    begun, process, marks, cpu, row = time.monotonic(), cafx_started(args, table, preset, run, epochs), list(MARKS), 0.0, None
    spent = 0.0
    while True:
        over = process.poll() is not None
        cpu = processor_seconds(process.pid) or cpu
        wall = time.monotonic() - begun
        spent = cpu / args.threads if args.clock == "cpu" else wall
        passed = [m for m in marks if spent >= m * args.budget or over]
        best = os.path.join(run, "best.safetensors")
        if passed:
            marks = marks[len(passed):]
            row = last_row(run)
            if row and row[0] != "pretrain" and os.path.exists(best):
                name = "weights-%06d.safetensors" % row[1]
                shutil.copyfile(best, os.path.join(folder, name))
                with open(os.path.join(folder, "marks.jsonl"), "a") as file:
                    file.write(json.dumps({"spent": spent, "cpu": cpu, "wall": wall, "steps": row[1], "weights": name}) + "\n")
        if over:
            break
        if spent >= args.budget:
            process.send_signal(signal.SIGINT)
            process.wait()
            break
        time.sleep(0.02)
    if process.returncode and marks and row is None:
        raise Failed("%s.log: cafx ended with status %d" % (run, process.returncode))
    return {"epochs": epochs, "costs": costs}


def render_cafx(args, weights, files, stream=False):
    before = os.times()
    audio = 0.0
    for source, target in files:
        more = ["--stream", "--block", "64"] if stream else ["--threads", str(args.threads)]
        done = subprocess.run([args.cafx, "render", weights, source, target, "--force", "--quiet", "--device", "cpu"] + more,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Failed(done.stdout.strip()[-300:])
        audio += len(metrics.read(source)[0]) / metrics.read(source)[1]
    after = os.times()
    return {"cpu": after.children_user + after.children_system - before.children_user - before.children_system, "audio": audio}


# -- the peers -------------------------------------------------------------------------------------------------------------------------


def peer(args, family, what, spec, folder):
    path = os.path.join(folder, what + ".json")
    with open(path, "w") as file:
        json.dump(spec, file)
    with open(os.path.join(folder, what + ".log"), "a") as log:
        command = [python_of(args), os.path.join(HERE, "peers", family + "_peer.py"), what, path]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(args))
    if done.returncode:
        raise Failed("%s.log: ended with status %d" % (os.path.join(folder, what), done.returncode))
    return done.stdout


def train_peer(args, data, about, device, system, folder):
    family, trains = SYSTEMS[system]
    dry, wet = (os.path.abspath(os.path.join(data, side, "take.wav")) for side in ("dry", device))
    peer(args, family, "train", {"system": trains, "dry": dry, "wet": wet, "rate": about["rate"], "train_stop": about["train_stop"],
                                 "validation_start": about["validation_start"], "budget": args.budget, "clock": args.clock,
                                 "threads": args.threads, "marks": MARKS, "out": os.path.abspath(folder)}, folder)
    return {}


def render_peer(args, system, played, folder):
    plays = [{"weights": weights, "files": [(source, target) for source, target in files]} for weights, files in played]
    out = peer(args, SYSTEMS[system][0], "render", {"system": system, "plays": plays, "threads": args.threads, "rate": 44100}, folder)
    return [json.loads(line) for line in out.strip().splitlines()[-len(plays):]]


def trained_as(system):
    """Folder name of the training that a system's weights come from: both sizes of A2 come from one."""
    family, trains = SYSTEMS[system]
    return system if family == "cafx" else trains


def train(args, data, about, device, system, folder):
    family, trains = SYSTEMS[system]
    if family == "cafx":
        return train_cafx(args, data, about, device, trains, folder)
    return train_peer(args, data, about, device, system, folder)


def render(args, system, played, folder):
    """Plays files to files by each of several weights, given as (weights, [(from, to)]); processor seconds and seconds of audio of each."""
    if SYSTEMS[system][0] == "cafx":
        return [render_cafx(args, weights, files) for weights, files in played]
    return render_peer(args, system, played, folder)
