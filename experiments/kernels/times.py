#!/usr/bin/env python3
"""Times of one supervised step as a profiler measured them on a GPU, beside the floor of each op.

  times.py MEASURED.csv CONFIG.json BATCH [PRECISION]
    MEASURED   ncu --csv of one step (cafx bench --profile), with the metrics of gpu.sh; or the report cuda_gpu_kern_sum of nsys,
               which knows times only
    CONFIG     `cafx info --json`
"""
import csv, io, json, sys

from ops import BANDWIDTH, REST, number, ops, plain

text = open(sys.argv[1]).read()
lines = [l for l in text.splitlines() if l.startswith('"')] or text.splitlines()  # ncu writes the program's output between
rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
config, B = json.load(open(sys.argv[2]))["config"], int(sys.argv[3])
precision = sys.argv[4] if len(sys.argv) > 4 else "fp32"

UNITS = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3, "s": 1.0, "second": 1.0,
         "byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9}
kernels = {}  # name: [launches, seconds, bytes, registers, cycles, instructions of a scheduler]
if rows and "Metric Name" in rows[0]:
    launches = {}
    for r in rows:
        launch = launches.setdefault(r["ID"], {"name": r["Kernel Name"]})
        try:
            launch[r["Metric Name"]] = float(r["Metric Value"].replace(",", "")) * UNITS.get(r["Metric Unit"], 1.0)
        except ValueError:
            pass  # n/a: this GPU does not count it
    for l in launches.values():
        k = kernels.setdefault(plain(l["name"]), [0, 0.0, 0.0, 0, 0.0, 0.0])
        k[0] += 1
        k[1] += l["gpu__time_duration.sum"]
        k[2] += l.get("dram__bytes.sum", 0.0)
        k[3] = int(l.get("launch__registers_per_thread", 0))
        k[4] += l.get("sm__cycles_elapsed.avg", 0.0)
        k[5] += l.get("smsp__inst_executed.avg", 0.0)
else:
    column = lambda row, *names: next(row[n] for n in row if any(n.startswith(x) for x in names))
    for r in rows:
        kernels[plain(column(r, "Name"))] = [int(column(r, "Instances")), 1e-9 * float(column(r, "Total Time")), 0.0, 0, 0.0, 0.0]
if not kernels:
    sys.exit(f"{sys.argv[1]}: no kernel was measured")

line = lambda *cells: print("| " + " | ".join(str(c) for c in cells) + " |")
us = lambda seconds: f"{1e6 * seconds:.0f}"
total = sum(k[1] for k in kernels.values())
bytes_known = any(k[2] for k in kernels.values())
print(f"A step of {B} frames in {precision}; measured kernel by kernel, the floor an H100's.\n")
line("op", "floor us", "measured us", "measured / floor", "TFLOP/s", "DRAM bytes", "of the bandwidth")
line(*["---"] * 7)
used, floor = set(), 0.0
for op in ops(config, B, precision):
    mine = [n for n in kernels if n not in used and op.pattern.search(n)]
    used.update(mine)
    seconds, moved = sum(kernels[n][1] for n in mine), sum(kernels[n][2] for n in mine)
    floor += op.floor(precision)
    if not mine:
        line(op.label, us(op.floor(precision)), "no kernel of that name", "", "", "", "")
        continue
    line(op.label, us(op.floor(precision)), us(seconds), f"{seconds / op.floor(precision):.1f}", f"{1e-12 * op.flops / seconds:.1f}" if op.flops else "",
         number(moved) if moved else "", f"{100 * moved / seconds / BANDWIDTH:.0f} %" if moved else "")
rest = [n for n in kernels if n not in used]
moved = sum(kernels[n][2] for n in rest)
line(REST, "", us(sum(kernels[n][1] for n in rest)), "", "", number(moved) if moved else "", "")
moved = sum(k[2] for k in kernels.values())
line("**sum**", us(floor), us(total), f"**{total / floor:.2f}**", "", number(moved) if moved else "", f"{100 * moved / total / BANDWIDTH:.0f} %" if moved else "")
print("\nThe kernels, by their time:\n")
line("kernel", "launches", "us", "share", "registers", "DRAM GB/s", "GHz", "cycles that issue")
line(*["---"] * 8)
for name, (n, seconds, moved, registers, cycles, instructions) in sorted(kernels.items(), key=lambda k: -k[1][1])[:24]:
    line(f"`{name[:60]}`", n, us(seconds), f"{100 * seconds / total:.1f} %", registers or "", f"{1e-9 * moved / seconds:.0f}" if bytes_known else "",
         f"{1e-9 * cycles / seconds:.2f}" if cycles else "", f"{100 * instructions / cycles:.0f} %" if cycles else "")
if len(kernels) > 24:
    print(f"\nNot named above: {len(kernels) - 24} small kernels.")
