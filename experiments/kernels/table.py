#!/usr/bin/env python3
"""The table of kernels/README.md: what each kernel of one supervised step must move and compute, what it does move, and
what the compiler made of it.

  table.py PROFILE1.json BATCH1 PROFILE2.json BATCH2 RESOURCES.txt CONFIG.json BATCH
    PROFILE    counted by the virtual GPU over one step of BATCH1 and of BATCH2 frames (run.sh). What a kernel moves is a
               fixed part and one that grows with the batch: the line through both gives a step of BATCH frames.
    RESOURCES  nvcc --resource-usage of the kernels' sources for sm_90
    CONFIG     `cafx info --json`

Floors: ops.py.
"""
import json, re, subprocess, sys

from ops import REST, number, ops, plain

first, second = json.load(open(sys.argv[1])), json.load(open(sys.argv[3]))
B1, B2, B = int(sys.argv[2]), int(sys.argv[4]), int(sys.argv[7])
resources, config = open(sys.argv[5]).read(), json.load(open(sys.argv[6]))
c = config["config"]
widths = [c["filters"]] + list(c["dnn"])


def bytes_of(kernel):
    return kernel["global"]["load"]["unique_bytes"] + kernel["global"]["store"]["unique_bytes"]


smaller = {k["name"]: bytes_of(k) for k in first["kernels"]}


def moved_by(kernel):
    """Bytes of a step of B frames."""
    b1, b2 = smaller.get(kernel["name"], 0), bytes_of(kernel)
    return max(0, b2 + (b2 - b1) / (B2 - B1) * (B - B2))


def kernel_rows():
    return second["kernels"]


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


total_floor_bytes = total_moved = total_floor = total_flops = 0
used = set()
lines = []
for op in ops(c, B):
    mine = [k for k in kernel_rows() if k["name"] not in used and op.pattern.search(plain(k["name"]))]
    used.update(k["name"] for k in mine)
    moved = sum(map(moved_by, mine))
    lines.append((op.label, op.flops, op.least, op.floor(), moved))
    total_floor_bytes += op.least
    total_moved += moved
    total_floor += op.floor()
    total_flops += op.flops
rest = [k for k in kernel_rows() if k["name"] not in used]
rest_moved = sum(map(moved_by, rest))
lines.append((REST, 0, 0, 0, rest_moved))
total_moved += rest_moved

print(f"A supervised step of {B} frames (counted at {B1} and {B2}), preset `{config.get('preset', 'paper')}`, frame {c['frame']}, {c['filters']} filters, DNN-SAAF {'-'.join(map(str, widths[1:]))}:\n")
print("| op | FLOP | least bytes | floor us | bytes moved | moved / least |")
print("| --- | --- | --- | --- | --- | --- |")
for label, flops, least, floor, moved in lines:
    ratio = f"{moved / least:.2f}" if least else ""
    print(f"| {label} | {number(flops)} | {number(least)} | {us(floor) if floor else ''} | {number(moved)} | {ratio} |")
print(f"| **sum** | {number(total_flops)} | {number(total_floor_bytes)} | {us(total_floor)} | {number(total_moved)} | **{total_moved / total_floor_bytes:.2f}** |")
print("\nThe kernels that do it, by the bytes that they move:\n")
print("| kernel | launches | grid x block | sectors a request | lanes | bank conflicts / request | registers | shared | spills, local | occupancy |")
print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
rows = sorted(kernel_rows(), key=moved_by, reverse=True)
for k in rows[:14]:
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
if rest:
    print(f"\nNot named above: {len(rest)} small kernels.")
