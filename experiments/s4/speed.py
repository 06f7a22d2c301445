#!/usr/bin/env python3
"""Steps of S4 by cafx and by nablafx, of the same size, in turn: samples per second of processor time, one thread each.

    python3 -m venv VENV && VENV/bin/pip install nablafx==1.0.0 torch
    experiments/s4/speed.py --cafx build/cpu/host/cafx --python VENV/bin/python

A step is forward, MAE, backward and Adam on --batch segments of --seconds at 48 kHz, back-propagated over the whole segment on
either side. nablafx runs as it is (eager) and by torch.compile; the faster of the two is the one that is held beside. Every
round runs each of them once. Processor seconds are user and system time of the process, which other work on the machine hardly touches.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
import types

RATE = 48000
S4 = {"residual": True, "act_type": "tanh", "channel_width": 16, "cond_block_size": 128}
PRESETS = {"s4-s": dict(S4, num_blocks=4, s4_state_dim=4), "s4-l": dict(S4, num_blocks=8, s4_state_dim=32),
           "s4-tf-l": dict(S4, num_blocks=8, s4_state_dim=32, cond_type="tfilm")}
MODES = ("eager", "compiled")


def nablafx_step(preset, mode, batch, length, steps):
    """Median processor seconds of a step; what the first one takes (compiling, planning) is left out."""
    import torch
    for name in ("rational", "rational.torch", "frechet_audio_distance"):  # what no config here asks for
        sys.modules[name] = types.ModuleType(name)
    sys.modules["rational.torch"].Rational = sys.modules["frechet_audio_distance"].FrechetAudioDistance = None
    from nablafx.processors.s4 import S4 as Processor
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = Processor(**PRESETS[preset])
    run = torch.compile(model) if mode == "compiled" else model
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    x = 0.1 * torch.randn(batch, 1, length)
    target = torch.tanh(3 * x)
    seconds = []
    for _ in range(steps + 1):
        begin = time.process_time()
        model.reset_states()
        adam.zero_grad()
        (run(x) - target).abs().mean().backward()
        adam.step()
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds[1:])


def speed_of_nablafx(args, preset, mode):
    """Samples per second; None where this mode does not run."""
    length = int(args.seconds * RATE)
    command = [args.python, __file__, "--step", preset, mode, str(args.batch), str(length), str(args.steps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print("nablafx, %s, %s: %s" % (preset, mode, done.stderr.strip().splitlines()[-1]), file=sys.stderr)
        return None
    return args.batch * length / float(done.stdout.split()[-1])


def speed_of_cafx(args, preset):
    settings = ["model.sample_rate=%d" % RATE, "train.batch=%d" % args.batch, "train.segment_seconds=%g" % args.seconds,
                "train.block=0", "train.burn_in=0", "train.loss.esr=0", "train.loss.mae=1", "train.loss.pre_emphasis=0"]
    command = [args.cafx, "bench", "--preset", preset, "--cohort", "1", "--threads", "1", "--device", "cpu", "--json",
               "--seconds", "%g" % args.cafx_seconds]
    for s in settings:
        command += ["--set", s]
    rows = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return rows["cohorts"][0]["segments_per_processor_second"] * args.seconds * RATE


def thousands(speeds):
    return "%.0f (%.0f to %.0f)" % tuple(v / 1000 for v in (statistics.median(speeds), min(speeds), max(speeds)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cafx", default="build/cpu/host/cafx")
    parser.add_argument("--python", default=sys.executable, help="of an environment with nablafx")
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a segment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="of nablafx in a round")
    parser.add_argument("--cafx-seconds", type=float, default=4.0, help="of cafx in a round")
    args = parser.parse_args()
    print("Thousand samples per second of processor time: median (least to most) of %d rounds; %d segments of %g s\n" %
          (args.rounds, args.batch, args.seconds))
    print("| preset | cafx | " + " | ".join("nablafx, " + mode for mode in args.modes.split(",")) + " | ratio |")
    print("| --- | --- |" + " --- |" * (len(args.modes.split(",")) + 1))
    for preset in args.presets.split(","):
        cafx, peers = [], {mode: [] for mode in args.modes.split(",")}
        for _ in range(args.rounds):
            cafx.append(speed_of_cafx(args, preset))
            for mode, speeds in peers.items():
                if speeds is None:
                    continue
                speed = speed_of_nablafx(args, preset, mode)
                peers[mode] = speeds + [speed] if speed else None
        if not any(peers.values()):
            raise SystemExit("nablafx runs in none of the modes %s with %s" % (args.modes, args.python))
        best = max(statistics.median(s) for s in peers.values() if s)
        columns = [thousands(s) if s else "does not run" for s in peers.values()]
        print("| `%s` | %s | %s | %.1f |" % (preset, thousands(cafx), " | ".join(columns), statistics.median(cafx) / best), flush=True)
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--step":
        print(nablafx_step(sys.argv[2], sys.argv[3], *(int(v) for v in sys.argv[4:])))
    else:
        sys.exit(main())
