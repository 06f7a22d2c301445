"""The driver of compare.sh: starts the peers, measures in turn, prints, draws. Standard library only."""
import argparse
import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KINDS = {"train": "supervised training", "pretrain": "pretraining", "render": "rendering"}
# Variables that change the kernels or the number of threads of a peer's libraries.
STEERS = ("OPENBLAS_", "OMP_", "GOMP_", "KMP_", "MKL_", "BLIS_", "ATEN_", "DNNL_", "ONEDNN_", "XLA_", "JAX_", "TF_ENABLE", "TF_NUM", "TF_XLA", "TORCH_", "TORCHINDUCTOR_",
          "MALLOC_", "LD_PRELOAD")


def arguments():
    p = argparse.ArgumentParser(prog="compare.sh")
    p.add_argument("--preset", default="paper")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    p.add_argument("--python", action="append", default=[], metavar="FILE")
    p.add_argument("--only", default=",".join(KINDS))
    p.add_argument("--out", default="compare")
    p.add_argument("--cafx", default="build/cpu/host/cafx")
    p.add_argument("--lock", action="append", default=[], metavar="FILE")
    a = p.parse_args()
    a.kinds = a.only.split(",")
    unknown = [k for k in a.kinds if k not in KINDS]
    if unknown:
        p.error(f"--only: '{unknown[0]}' is none of {', '.join(KINDS)}")
    if not os.access(a.cafx, os.X_OK):
        p.error(f"--cafx: {a.cafx} is not there; build it (cmake --preset cpu && cmake --build --preset cpu --target cafx) or name another")
    if a.threads > len(os.sched_getaffinity(0)):
        p.error(f"--threads {a.threads}: only {len(os.sched_getaffinity(0))} processors here")
    return a


def hold(locks, how=fcntl.LOCK_EX):
    stack = contextlib.ExitStack()
    for path in locks:
        fcntl.flock(stack.enter_context(open(path, "a")), how)
    return stack


def measure_cafx(a, options, extra=()):
    out = subprocess.run([a.cafx, "bench", *options, "--threads", str(a.threads), "--json", *extra], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out)


def cafx_rate(result, kind):
    if kind != "render":
        return result[kind]["frames_per_second"]
    hop = next(h for h in result["render"]["hops"] if h["hop"] == result["hop"])
    return hop["all_threads"]["frames_per_second"]


def interpreters(a):
    seen = {}
    for path in ["/usr/bin/python3", shutil.which("python3"), *a.python]:
        if not path or not os.access(path, os.X_OK):
            if path in a.python:
                sys.exit(f"--python {path}: not an interpreter that can be run")
            continue
        where = subprocess.run([path, "-c", "import sys; print(sys.prefix)"], stdout=subprocess.PIPE, text=True).stdout.strip()
        seen.setdefault(where, path)
    return list(seen.values())


def ask(process, kind, way, seconds):
    process.stdin.write(f"{kind};{way};{seconds}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def start_peers(a, case, losses):
    peers = []
    for python in interpreters(a):
        for framework in ("torch", "jax", "tensorflow"):
            script = ("import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)")
            if subprocess.run([python, "-c", script, framework]).returncode:
                continue
            print(f"{framework} of {python}: a step of each of its ways", file=sys.stderr, flush=True)
            log = tempfile.TemporaryFile("w+") if framework == "tensorflow" else None
            with hold(a.lock[-1:], fcntl.LOCK_SH):
                process = subprocess.Popen([python, str(HERE / "peers" / f"{framework}_peer.py"), case, str(a.threads), json.dumps(losses)],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                           env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "KINDS": ",".join(a.kinds)})
                line = process.stdout.readline()
            if not line:
                print(f"skipped: {framework} of {python} ended with status {process.wait()}; it said why above", file=sys.stderr)
                if log:
                    log.seek(0)
                    sys.stderr.write("".join(log.readlines()[-5:]))
                continue
            about = json.loads(line)
            about["process"], about["rates"] = process, {k: [] for k in a.kinds}
            with hold(a.lock):  # the fastest way of each kind is the one that is compared
                about["tried"] = {k: {w: ask(process, k, w, min(2.0, a.seconds)) for w in about["ways"][k]} for k in a.kinds}
            about["ways"] = {k: max(tried, key=tried.get) for k, tried in about["tried"].items() if tried}
            about["label"] = f"{about['framework']} {about['version'].split('+')[0]}"
            peers.append(about)
    return peers


def draw(a, result, title):
    if not shutil.which("gnuplot"):
        print("skipped: gnuplot is not installed; no picture", file=sys.stderr)
        return
    labels = ["cafx"] + [p["label"] for p in result["peers"]]
    lines = []
    for kind in a.kinds:
        row = [result["cafx"]["median"][kind]] + [p["median"][kind] for p in result["peers"]]
        lines.append(f'"{KINDS[kind]}" ' + " ".join(f"{x:.2f}" for x in row))
    n = len(labels)
    data = "\n".join(lines)
    colours = ["#d1495b", "#30638e", "#5b8fb9", "#8a9ba8", "#edae49", "#66a182"]
    bars = ", ".join(f"$rows using {i + 2}:xtic(1) title \"{label}\" lc rgb \"{colours[i % len(colours)]}\"" for i, label in enumerate(labels))
    width = 1.0 / (n + 1)
    numbers = ", ".join(f"$rows using ($0 + {(i - (n - 1) / 2) * width:.4f}):{i + 2}:(sprintf(${i + 2} < 100 ? \"%.3g\" : \"%.0f\", ${i + 2})) with labels offset 0,0.6 notitle" for i in range(n))
    script = f"""set terminal svg size 1000,520 font "sans-serif,14" background "#ffffff"
set output "{a.out}.svg"
set title "{title}"
set style data histograms
set style histogram clustered gap 1
set style fill solid border -1
set boxwidth 1
set ylabel "frames a second (log)"
set logscale y
set yrange [1:*]
set offsets 0,0,0,0
set grid ytics lc rgb "#dddddd"
set key outside bottom center horizontal
$rows << END
{data}
END
plot {bars}, {numbers}
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def main():
    a = arguments()
    for name in sorted(os.environ):
        if name.startswith(STEERS):
            print(f"note: {name}={os.environ[name]} was set and steers a peer's libraries; it is unset here")
            del os.environ[name]
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:a.threads]))  # of all that is started here
    options = ["--preset", a.preset, "--set", "model.unpool=hold", "--set", f"train.batch={a.batch}"]
    folder = tempfile.TemporaryDirectory()
    case = os.path.join(folder.name, "case.safetensors")
    with hold(a.lock):
        first = measure_cafx(a, options, ["--seconds", "1", "--write", case])
    losses = {"train": first["train"]["loss"], "pretrain": first["pretrain"]["loss"], "render": first["train"]["loss"]}
    peers = start_peers(a, case, losses)
    if not peers:
        print("skipped: no PyTorch, JAX or TensorFlow is importable (python3-torch is one); cafx alone", file=sys.stderr)

    ours, in_bf16 = [], []
    for round in range(a.rounds):
        with hold(a.lock):
            ours.append(measure_cafx(a, options, ["--seconds", str(6 * a.seconds)]))
            if first["bf16_units"]:  # what --precision bf16 brings; the peers stay in fp32
                in_bf16.append(measure_cafx(a, options, ["--seconds", str(6 * a.seconds), "--precision", "bf16"]))
            for i in range(len(peers)):
                peer = peers[(i + round) % len(peers)]
                for kind in a.kinds:
                    way = peer["ways"].get(kind)
                    peer["rates"][kind].append(ask(peer["process"], kind, way, a.seconds) if way else 0.0)
        print(f"round {round + 1}: " + "; ".join(
            f"{kind}: cafx {cafx_rate(ours[-1], kind):.1f}" + "".join(f", {p['label']} {p['rates'][kind][-1]:.1f}" for p in peers) for kind in a.kinds), flush=True)
    for peer in peers:
        peer.pop("process").stdin.close()

    rates = {k: [cafx_rate(r, k) for r in ours] for k in a.kinds}
    result = {"date": datetime.date.today().isoformat(), "preset": a.preset, "batch": a.batch, "threads": a.threads,
              "cafx": {"version": ours[0]["version"], "isa": ours[0]["isa"], "rates": rates, "median": {k: statistics.median(v) for k, v in rates.items()},
                       "of_peak": {k: statistics.median(r[k]["of_peak"] for r in ours) for k in ("train", "pretrain")},
                       "fma_peak_gflops": statistics.median(r["fma_peak_gflops"] for r in ours)},
              "bf16": {k: statistics.median(cafx_rate(r, k) for r in in_bf16) for k in a.kinds} if in_bf16 else None, "peers": peers}
    for peer in peers:
        peer["median"] = {k: statistics.median(v) for k, v in peer["rates"].items()}
        peer["ratio"] = {k: statistics.median(x / y for x, y in zip(rates[k], peer["rates"][k]) if y > 0) if all(peer["rates"][k]) else None for k in a.kinds}
    pathlib.Path(a.out + ".json").write_text(json.dumps(result, indent=1) + "\n")

    c = result["cafx"]
    print(f"\npreset {a.preset} with hold, batch {a.batch}, {a.threads} threads; frames per second, medians of {a.rounds} alternating rounds; ratio: median of the rounds' ratios\n")
    print("| | " + " | ".join(f"{KINDS[k]} | ratio" for k in a.kinds) + " |\n| --- |" + " --- | --- |" * len(a.kinds))
    print(f"| cafx {c['version']}, {c['isa']} | " + " | ".join(f"{c['median'][k]:.1f} | 1" for k in a.kinds) + " |")
    if in_bf16:
        print("| the same, --precision bf16 | " + " | ".join(f"{result['bf16'][k]:.1f} | {c['median'][k] / result['bf16'][k]:.2f}" for k in a.kinds) + " |")
    for p in peers:
        print(f"| {p['label']} | " + " | ".join(f"{p['median'][k]:.1f} | " + (f"{p['ratio'][k]:.1f}" if p["ratio"][k] else "-") for k in a.kinds) + " |")
    print(f"\ncafx: {100 * c['of_peak']['train']:.1f} % of this machine's FMA peak ({c['fma_peak_gflops']:.0f} GFLOP/s, same run) in supervised training, "
          f"{100 * c['of_peak']['pretrain']:.1f} % in pretraining. Rendering: at the preset's hop, what overlapping frames share counted once; a peer computes every frame.")
    for p in peers:
        print(f"{p['label']}: {p['version']}; {p['details']}; BLAS {', '.join(sorted(set(p['blas'].values()))) or 'none found'}; environment {p['environment'] or 'nothing set'}; "
              + "; ".join(f"{KINDS[k]}: {p['ways'][k]}" for k in a.kinds if k in p["ways"]) + "; ways tried: "
              + "; ".join(f"{KINDS[k]} " + ", ".join(f"{w} {r:.1f}" for w, r in p["tried"][k].items()) for k in a.kinds))
    draw(a, result, f"preset {a.preset}, batch {a.batch}, {a.threads} threads: cafx and its peers")


main()
