#!/usr/bin/env python3
"""The table of kernels/README.md: what each kernel of one supervised step must move and compute, what it does move, and
what the compiler made of it.

  table.py PROFILE1.json BATCH1 PROFILE2.json BATCH2 RESOURCES.txt CONFIG.json BATCH
    PROFILE    counted by the virtual GPU over one step of BATCH1 and of BATCH2 frames (run.sh). What a kernel moves is a
               fixed part and one that grows with the batch: the line through both gives a step of BATCH frames.
    RESOURCES  nvcc --resource-usage of the kernels' sources for sm_90
    CONFIG     `cafx info --json`

Floors: every operand of an op read once and every result written once, by 3.35 TB/s; FLOPs by 67 TFLOP/s (fp32); the
larger of the two. An H100's.
"""
import json, re, subprocess, sys

BANDWIDTH, FP32 = 3.35e12, 67e12

first, second = json.load(open(sys.argv[1])), json.load(open(sys.argv[3]))
B1, B2, B = int(sys.argv[2]), int(sys.argv[4]), int(sys.argv[7])
resources, config = open(sys.argv[5]).read(), json.load(open(sys.argv[6]))
c = config["config"]
get = lambda key: c[key]
T, C, K1, K2, P, latent = get("frame"), get("filters"), get("taps"), get("local_taps"), get("pool"), get("latent")
widths = [C] + list(get("dnn"))
pooled = T // P
F = 4  # bytes of a float

tensor, small, hidden, signal, padded = B * T * C * F, B * pooled * C * F, B * latent * C * F, B * T * F, B * (T + K1 - 1) * F
dnn = sum(a * b for a, b in zip(widths, widths[1:]))
# label: (pattern of kernel names, least bytes, FLOPs)
conv = 2 * B * T * C * K1
ROWS = [
    ("gather frames", r"gather_frames|begin_kernel", 2 * signal + padded + signal, 0),
    ("Conv1D (cuDNN)", r"lib:forward with bias", padded + tensor, conv),
    ("abs, Conv1D-Local, softplus, pool", r"front_end.*pool_kernel|pool_kernel", tensor + 2 * small, 2 * B * T * C * K2),
    ("Dense-Local", r"local_dense.*forward|cuda::.*forward_kernel<\(cafx::Activation\)3>\(float\*, float const\*, float const\*, float const\*, cafx::LocalDenseDims", small + hidden + C * pooled * latent * F, 2 * B * C * pooled * latent),
    ("DNN-SAAF forward", r"forward_kernel<.*Operands", 2 * tensor + small, 2 * B * T * dnn),
    ("deConv1D (cuDNN)", r"lib:backward data", tensor + padded, conv),
    ("crop and bias", r"deconv1d_forward", padded + signal, 0),
    ("MAE and its gradient", r"mae_kernel", 2 * signal + padded, 0),
    ("deConv1D backward, to u (cuDNN)", r"lib:forward B", padded + tensor, conv),
    ("deConv1D backward, filters (cuDNN)", r"lib:backward filter#1", padded + tensor, conv),
    ("DNN-SAAF backward", r"backward_kernel<.*Operands|finish_kernel|dnn_saaf_backward", 3 * tensor + 2 * small, 2 * 3 * B * T * dnn),
    ("Dense-Local backward", r"data_kernel.*LocalDense|weights_kernel", 2 * small + 3 * hidden + 2 * C * pooled * latent * F, 4 * B * C * pooled * latent),
    ("Conv1D-Local backward", r"back_kernel|front_end_backward", 3 * tensor + 3 * small, 2 * 2 * B * pooled * C * K2),
    ("Conv1D backward, filters (cuDNN)", r"lib:backward filter#2", padded + tensor, conv),
]


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


def number(x):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if x >= size:
            return f"{x / size:.3g} {unit}"
    return f"{x:.3g}"


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
library_bytes = {"forward with bias": padded + tensor, "backward data": tensor + padded, "forward B": padded + tensor,
                 "backward filter#1": padded + tensor, "backward filter#2": padded + tensor}
for label, pattern, floor_bytes, flops in ROWS:
    floor = max(floor_bytes / BANDWIDTH, flops / FP32)
    if pattern.startswith("lib:"):
        moved = library_bytes[pattern[4:]]  # as the library's documentation promises; its own traffic cannot be seen
        lines.append((label, flops, floor_bytes, floor, moved, None, None))
    else:
        mine = [k for k in kernel_rows() if k["name"] not in used and re.search(pattern, k["name"])]
        for k in mine:
            used.add(k["name"])
        moved = sum(map(moved_by, mine))
        lines.append((label, flops, floor_bytes, floor, moved, mine, None))
    total_floor_bytes += floor_bytes
    total_moved += moved
    total_floor += floor
    total_flops += flops
rest = [k for k in kernel_rows() if k["name"] not in used]
rest_moved = sum(map(moved_by, rest))
lines.append(("Dense, Adam, sums and all else", 0, 0, 0, rest_moved, None, None))
total_moved += rest_moved

print(f"A supervised step of {B} frames (counted at {B1} and {B2}), preset `{config.get('preset', 'paper')}`, frame {T}, {C} filters, DNN-SAAF {'-'.join(map(str, widths[1:]))}:\n")
print("| op | FLOP | least bytes | floor us | bytes moved | moved / least |")
print("| --- | --- | --- | --- | --- | --- |")
for label, flops, least, floor, moved, kernels, _ in lines:
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
    short = re.sub(r"cafx::|cuda::|\(anonymous namespace\)::|const ", "", name)
    lambda_of = re.search(r"each_kernel<(\w+)\(", short)
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
