"""What every peer shares: the case that `cafx bench --write` left, the check of the loss, the clock.

A peer is a process that stays: it loads the case, takes a step of each of its ways (which compiles them), says so in one line
of JSON, then answers each line "KIND;WAY;SECONDS" on its input with frames per second. KIND is train (supervised step with Adam), pretrain (the same of the pretrained form) or render (forward).
Way  a named function kind -> (step, loss): step() does one batch and is finished when it returns; loss is that of the
     first step, before the weights moved. A way that is not there for a kind returns None.
"""
import ctypes
import json
import os
import statistics
import sys
import time

import numpy as np

KINDS = os.environ.get("KINDS", "train,pretrain,render").split(",")


class Case:
    def __init__(self, path, threads, loss):
        raw = open(path, "rb").read()
        n = int.from_bytes(raw[:8], "little")
        table = json.loads(raw[8:8 + n])
        self.c = json.loads(table.pop("__metadata__")["config"])
        self.tensors = {}
        for name, t in table.items():
            a, b = t["data_offsets"]
            self.tensors[name] = np.frombuffer(raw[8 + n + a:8 + n + b], np.float32).reshape(t["shape"]).copy()
        self.input, self.target = self.tensors.pop("batch.input"), self.tensors.pop("batch.target")
        self.threads, self.loss = threads, loss
        c = self.c
        if c["saaf.every_second"] or c["saaf.order"] != 2 or not c["saaf.v0"] or c["deconv"] != "adjoint" or c["unpool"] != "hold":
            sys.exit("the peers know SAAFs of order 2 with v0 on every segment, deconv = adjoint and unpool = hold only")

    def names(self, kind):
        kept = ("conv1d.weight", "conv1d.bias", "local_conv.weight", "local_conv.bias", "deconv.bias")
        return [n for n in self.tensors if kind != "pretrain" or n in kept]


def median_rate(step, batch, seconds, parts=5):
    rates = []
    for _ in range(parts):
        start, n = time.perf_counter(), 0
        while True:
            step()
            n += batch
            dt = time.perf_counter() - start
            if dt >= seconds / parts:
                break
        rates.append(n / dt)
    return statistics.median(rates)


def blas():
    """The BLAS libraries in this process; of OpenBLAS also the kernels that it chose for this processor."""
    found = {}
    for line in open("/proc/self/maps"):
        path = line.split()[-1]
        name = os.path.basename(path)
        if "openblas" in name or (name.startswith("libblas") and "openblas" in os.path.realpath(path)):
            for symbol in ("openblas_get_corename", "openblas_get_corename64_", "scipy_openblas_get_corename64_"):
                f = getattr(ctypes.CDLL(path), symbol, None)
                if f:
                    f.restype = ctypes.c_char_p
                    found[name] = "OpenBLAS, kernels " + f().decode()
        elif "mkl_core" in name or "mkl_rt" in name:
            found[name] = "MKL"
    return found


def serve(framework, version, details, ways, case):
    batch = len(case.input)
    steps = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for name, make in ways.items():
            start = time.perf_counter()
            try:
                made = make(kind)
                if made is None:
                    continue
                step, loss = made
                step()
            except Exception as e:  # a way that this version does not have: said, and left out
                print(f"  {framework} {kind}: {name} does not run here: {type(e).__name__}: {str(e).splitlines()[0][:120]}", file=sys.stderr, flush=True)
                continue
            want = case.loss[kind]
            if not abs(loss - want) <= 1e-4 * abs(want):
                sys.exit(f"{framework} {kind}, {name}: loss {loss:.7g}, cafx has {want:.7g}: not the same model")
            print(f"  {framework} {kind}: {name}: loss {loss:.6f}, ready in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            steps[kind][name] = step
    environment = {k: v for k, v in os.environ.items() if k.startswith(("OMP_", "MKL_", "OPENBLAS_", "KMP_", "XLA_", "TF_ENABLE", "TF_NUM", "TF_XLA", "DNNL_", "ONEDNN_", "ATEN_"))}
    print(json.dumps({"framework": framework, "version": version, "details": details, "blas": blas(), "environment": environment,
                      "ways": {k: list(ways) for k, ways in steps.items()}}), flush=True)
    for line in sys.stdin:
        kind, name, seconds = line.strip().split(";")
        print(json.dumps(median_rate(steps[kind][name], batch, float(seconds))), flush=True)


def case_from_arguments():
    return Case(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
