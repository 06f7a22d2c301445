#!/usr/bin/env python3
"""Times of one step's kernels as nsys measured them, beside the floor of the whole step.

  times.py CUDA_GPU_KERN_SUM.csv CONFIG.json BATCH
"""
import csv, json, re, sys

rows = list(csv.DictReader(open(sys.argv[1])))
c, B = json.load(open(sys.argv[2]))["config"], int(sys.argv[3])
T, C, K1, K2 = c["frame"], c["filters"], c["taps"], c["local_taps"]
widths = [C] + list(c["dnn"])
tensor = B * T * C * 4
flops = B * T * (2 * C * K1 * 5 + 2 * C * K2 + 8 * sum(a * b for a, b in zip(widths, widths[1:])))
column = lambda row, *names: next(row[n] for n in row if any(n.startswith(x) for x in names))
total = sum(float(column(r, "Total Time")) for r in rows)
print("| kernel | launches | us | share |\n| --- | --- | --- | --- |")
for r in sorted(rows, key=lambda r: -float(column(r, "Total Time"))):
    name = re.sub(r"cafx::|cuda::|\(anonymous namespace\)::|<unnamed>::|void ", "", column(r, "Name"))
    us = float(column(r, "Total Time")) / 1e3
    print(f"| `{name[:70]}` | {column(r, 'Instances')} | {us:.0f} | {100 * us * 1e3 / total:.1f} % |")
floor = max(15 * tensor / 3.35e12, flops / 67e12)
print(f"\nsum {total / 1e3:.0f} us; an H100's floor for a step of {B} frames in fp32 (15 passes over (B,T,C), {flops / 1e9:.0f} GFLOP) {1e6 * floor:.0f} us: {1e-9 * total / floor:.2f} times")
