#!/usr/bin/env python3
"""The tables of kernels/BENCHMARKS.md: what each kernel of one supervised step must move and compute, what it does move, and
what the compiler made of it; in fp32, then in bf16.

  table.py PROFILES BATCH1 BATCH2 RESOURCES.txt CONFIG.json BATCH
    PROFILES   "%s.%s.json", for each precision and batch: counted by the virtual GPU over one step of BATCH1 and of BATCH2
               frames (run.sh). What a kernel moves is a fixed part and one that grows with the batch: the line through both
               gives a step of BATCH frames.
    RESOURCES  nvcc --resource-usage of the kernels' sources for sm_90
    CONFIG     `cafx info --json`

Floors: ops.py.
"""
import json, re, subprocess, sys

from ops import REST, number, ops, plain

profiles, B1, B2, B = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[6])
resources, config = open(sys.argv[4]).read(), json.load(open(sys.argv[5]))
c = config["config"]
widths = [c["filters"]] + list(c["dnn"])


def bytes_of(kernel):
    return kernel["global"]["load"]["unique_bytes"] + kernel["global"]["store"]["unique_bytes"]


class Step:
    """What the kernels of a step in one precision moved."""

    def __init__(self, precision):
        first, second = (json.load(open(profiles % (precision, n)))["kernels"] for n in (B1, B2))
        self.precision, self.kernels = precision, second
        self.smaller = {k["name"]: bytes_of(k) for k in first}
        # (label, FLOP, least bytes, floor, bytes moved) of each op, and of all else.
        self.lines, used = [], set()
        for op in ops(c, B, precision):
            mine = [k for k in second if k["name"] not in used and op.pattern.search(plain(k["name"]))]
            used.update(k["name"] for k in mine)
            self.lines.append((op.label, op.flops, op.least, op.floor(), sum(map(self.moved_by, mine))))
        self.lines.append((REST, 0, 0, 0, sum(self.moved_by(k) for k in second if k["name"] not in used)))

    def moved_by(self, kernel):
        """Bytes of a step of B frames."""
        b1, b2 = self.smaller.get(kernel["name"], 0), bytes_of(kernel)
        return max(0, b2 + (b2 - b1) / (B2 - B1) * (B - B2))

    def total(self, column):
        return sum(line[column] for line in self.lines)


def resource_table():
    """Kernel (demangled) -> registers, shared, spill, stack of the compiler's report."""
    table = {}
    for entry in re.finditer(r"Function properties for (\S+)\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\s+ptxas info\s+: Used (\d+) registers[^\n]*", resources):
        table[entry[1]] = {"stack": int(entry[2]), "spill": int(entry[3]) + int(entry[4]), "registers": int(entry[5])}
    names = subprocess.run(["c++filt"], input="\n".join(table), capture_output=True, text=True).stdout.split("\n")
    return dict(zip(names, table.values()))


def occupancy(registers, threads, shared):
    warps = -(-threads // 32)
    by_registers = 65536 // max(1, -(-registers * 32 // 256) * 256 * warps)
    by_shared = 233472 // (shared + 1024)
    return min(by_registers, by_shared, 2048 // max(1, threads), 32) * warps * 32 / 2048


report = resource_table()


def resources_of(name):
    key = re.sub(r"\s+", "", name)
    for known, values in report.items():
        if re.sub(r"\s+", "", known).startswith(key[:-1]) or key in re.sub(r"\s+", "", known):
            return values
    return None


def us(seconds):
    return f"{1e6 * seconds:.0f}"


def ratio(moved, least):
    return f"{moved / least:.2f}" if least else ""


def print_kernels(step, n):
    print("| kernel | launches | grid x block | sectors a request | lanes | bank conflicts / request | registers | shared | spills, local | occupancy |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    rows = sorted(step.kernels, key=step.moved_by, reverse=True)
    for k in rows[:n]:
        name = k["name"]
        r = resources_of(name)
        short = re.sub(r"cafx::|cuda::|conv_fp32::|\(anonymous namespace\)::|const ", "", name)
        lambda_of = re.search(r"(?:each|sum_parts)_kernel<(\w+)\(", short)
        short = f"each thread of `{lambda_of[1]}`" if lambda_of else "`" + re.sub(r"<.*|\(.*", "", re.sub(r"\((?:Activation|int)\)", "", re.sub(r"^void ", "", short))) + "`"
        short = re.sub(r"(?s)cub::.*DeviceReduce(\w*).*", r"cub::DeviceReduce\1`", short)
        grid, block = k["grid"], k["block"]
        threads = block[0] * block[1] * block[2]
        load, store = k["global"]["load"], k["global"]["store"]
        shared = k["static_smem"] + k["dynamic_smem"]
        requests = sum(k["shared"][way]["requests"] for way in ("load", "store") if way in k["shared"])
        extra = sum(k["shared"][way]["extra_wavefronts"] for way in ("load", "store") if way in k["shared"])
        lanes = k["active_lanes"]
        local = k["local"]["load_bytes"] + k["local"]["store_bytes"]
        registers = f"{r['registers']}" if r else "?"
        spills = f"{r['spill']}, {local}" if r else f"?, {local}"
        occ = f"{100 * occupancy(r['registers'], threads, shared):.0f} %" if r else "?"
        print(f"| {short} | {k['launches']} | {grid[0] * grid[1] * grid[2]} x {threads} | {load['sectors_per_request']:.1f} / {store['sectors_per_request']:.1f} | {lanes:.1f} | {extra / requests if requests else 0:.2f} | {registers} | {shared} | {spills} | {occ} |")
    if len(rows) > n:
        print(f"\nNot named above: {len(rows) - n} small kernels.")


fp32, bf16 = Step("fp32"), Step("bf16")
print(f"A supervised step of {B} frames (counted at {B1} and {B2}), preset `{config.get('preset', 'paper')}`, frame {c['frame']}, {c['filters']} filters, DNN-SAAF {'-'.join(map(str, widths[1:]))}:\n")
print("| op | FLOP | least bytes | floor us | bytes moved | moved / least |")
print("| --- | --- | --- | --- | --- | --- |")
for label, flops, least, floor, moved in fp32.lines:
    print(f"| {label} | {number(flops)} | {number(least)} | {us(floor) if floor else ''} | {number(moved)} | {ratio(moved, least)} |")
print(f"| **sum** | {number(fp32.total(1))} | {number(fp32.total(2))} | {us(fp32.total(3))} | {number(fp32.total(4))} | **{ratio(fp32.total(4), fp32.total(2))}** |")
print("\nThe kernels that do it, by the bytes that they move:\n")
print_kernels(fp32, 14)
print("\nThe same step in bf16, whose least is that of X1, u and their gradients in two bytes a number:\n")
print("| op | least bytes | bytes moved | moved / least | of what fp32 moves |")
print("| --- | --- | --- | --- | --- |")
for (label, _, least, _, moved), wide in zip(bf16.lines, fp32.lines):
    print(f"| {label} | {number(least)} | {number(moved)} | {ratio(moved, least)} | {ratio(moved, wide[4])} |")
print(f"| **sum** | {number(bf16.total(2))} | {number(bf16.total(4))} | **{ratio(bf16.total(4), bf16.total(2))}** | **{ratio(bf16.total(4), fp32.total(4))}** |")
print()
print_kernels(bf16, 10)
