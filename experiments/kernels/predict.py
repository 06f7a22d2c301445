#!/usr/bin/env python3
"""Predicted times and counts of training steps, from what vgpu-time (the virtual GPU) wrote about each. Nothing is measured.

  predict.py table CONFIG.json NAME:PRECISION:BATCH:FILES...
      the tables of kernels/BENCHMARKS.md: each step's time and counts, then each op of the last of them beside its floor
      FILES      FILE.json of a step of BATCH; or B1=FILE1.json,B2=FILE2.json of steps of fewer frames, both of which fill the
                 card: the line through both gives a step of BATCH. Tensors that fit L2 then but not at BATCH are dearer than said.
  predict.py check BOUNDS.json NAME FILE.json
      counts of one step against its bounds; 1 and the reason where one is exceeded

The least bytes and FLOP of each op and the floors: ops.py. Counts: warp instructions of PTX; bytes between L1 and L2.
"""
import json, re, sys

from ops import CONV, REST, number, ops, plain

GOALS = {"nodes": 10, "spill_bytes": 64, "code_bytes": 48 * 1024}  # of every step in bf16


class Step:
    def __init__(self, path, batch=None):
        if "=" in path:
            self.between(batch, *(p.split("=") for p in path.split(",")))
        else:
            data = json.load(open(path))
            graph = data["graphs"][-1]
            if graph["nodes"] < 1 or not data["kernels"]:
                sys.exit(f"{path}: no graph was launched")
            self.gpu, self.kernels = data["gpu"], data["kernels"]
            self.us, self.nodes = graph["us"], graph["nodes"]
        self.instructions = self.sum("ptx_warp_instructions")
        self.l2 = self.sum("l2_bytes")

    def between(self, batch, first, second):
        less, more = Step(first[1]), Step(second[1])
        further = (batch - int(second[0])) / (int(second[0]) - int(first[0]))
        before = {(k["name"], k["calls"]): k for k in less.kernels}
        self.gpu, self.nodes, self.kernels = more.gpu, more.nodes, []
        for k in more.kernels:
            own = dict(k)
            for key in ("us", "ptx_warp_instructions", "l2_bytes"):
                own[key] = k[key] + further * (k[key] - before.get((k["name"], k["calls"]), k)[key])
            self.kernels.append(own)
        self.us = more.us - more.sum("us") + self.sum("us")

    def sum(self, key):
        return sum(k["calls"] * k[key] for k in self.kernels)

    def largest(self, key):
        return max(self.kernels, key=lambda k: k[key])

    def counts(self):
        return {"nodes": self.nodes, "warp_instructions": self.instructions, "l2_bytes": self.l2,
                "code_bytes": self.largest("code_bytes")["code_bytes"], "spill_bytes": self.largest("spill_bytes")["spill_bytes"],
                "registers": self.largest("registers")["registers"]}


def line(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |")


def table(config, steps):
    loaded = []
    for name, precision, batch, files in (s.split(":", 3) for s in steps):
        loaded.append((name, precision, int(batch), Step(files, int(batch))))
    line("step", "predicted us", "frames/s", "nodes", "warp instructions", "bytes L1 to L2", "longest code", "most spilled")
    line(*["---"] * 8)
    for name, precision, batch, step in loaded:
        line(f"{name}, {precision}, {batch} frames", f"{step.us:.0f}", f"{batch / step.us * 1e6:,.0f}", step.nodes, number(step.instructions),
             number(step.l2), f"{step.largest('code_bytes')['code_bytes'] // 1024} KB", f"{step.largest('spill_bytes')['spill_bytes']} B")
    name, precision, batch, step = loaded[-1]
    print(f"\nThe last of them, op by op, on {step.gpu}:\n")
    line("op", "floor us", "predicted us", "predicted / floor", "warp instructions", "limit of its longest kernel")
    line(*["---"] * 6)
    used, floor = set(), 0.0

    def row(label, least, mine):
        us = sum(k["calls"] * k["us"] for k in mine)
        longest = max(mine, key=lambda k: k["calls"] * k["us"])
        line(label, f"{1e6 * least:.0f}" if least else "", f"{us:.0f}", f"{us / least / 1e6:.1f}" if least else "",
             number(sum(k["calls"] * k["ptx_warp_instructions"] for k in mine)), longest["binding"])

    du_apart = sum(k["calls"] for k in step.kernels if re.search(CONV, plain(k["name"]))) != 1
    for op in ops(config, batch, precision, du_apart):
        mine = [k for k in step.kernels if k["name"] not in used and op.pattern.search(plain(k["name"]))]
        used.update(k["name"] for k in mine)
        if mine:
            floor += op.floor(precision)
            row(op.label, op.floor(precision), mine)
    rest = [k for k in step.kernels if k["name"] not in used]
    if rest:
        row(REST, 0, rest)
    kernels = step.sum("us")
    line("between the nodes of the graph", "", f"{max(0.0, step.us - kernels):.0f}", "", "", "")
    line("**sum**", f"{1e6 * floor:.0f}", f"{step.us:.0f}", f"**{step.us / floor / 1e6:.1f}**", number(step.instructions), "")


def check(bounds, name, path):
    step = Step(path)
    counts, failed = step.counts(), False
    print(f"{name}: predicted {step.us:.1f} us on {step.gpu}")
    for key, bound in bounds[name].items():
        goal = f", goal {GOALS[key]}" if key in GOALS and counts[key] > GOALS[key] else ""
        of = f" ({plain(step.largest(key)['name'])[:60]})" if key in ("code_bytes", "spill_bytes", "registers") else ""
        print(f"{name}: {key} {counts[key]}{of}, at most {bound}{goal}")
        failed = failed or counts[key] > bound
    if failed:
        sys.exit(f"{name}: the step became dearer; if that is wanted, say why where the bounds are")


if sys.argv[1] == "table":
    table(json.load(open(sys.argv[2]))["config"], sys.argv[3:])
else:
    check(json.load(open(sys.argv[2])), sys.argv[3], sys.argv[4])
