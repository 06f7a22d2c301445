"""CAFx in plain PyTorch: the same model, batch and loss as `cafx bench`, for a comparison of speed.

Usage: torch_cafx.py '{"frame": 1024, ...}' BATCH THREADS SECONDS [cpu|cuda [fp32|tf32|bf16|fp16]]   (the config as `cafx info --json` prints it)
Prints one JSON object: frames per second of the supervised training step, median of ten parts; on a GPU eager and, where
torch.compile is there, compiled (CAFX_TORCH_COMPILE: its mode), with what is known printed after each way. bf16 and fp16 are torch's
autocast, with the curve in fp32 and for fp16 a GradScaler. Of each way the first loss stands beside that of fp32 from the same weights;
a way whose loss is off by more than its precision explains ends with an error.
"""
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "softplus": F.softplus, "identity": lambda x: x}


class Cafx(torch.nn.Module):
    """Channels first: convolutions as cuDNN and oneDNN like them; the dense layers of DNN-SAAF as 1x1 convolutions or as
    matrix products over channels-last, whichever is faster, is chosen by `dnn_as`."""

    def __init__(self, c, dnn_as):
        super().__init__()
        self.c, self.dnn_as = c, dnn_as
        C, pooled = c["filters"], c["frame"] // c["pool"]
        P = lambda *shape: torch.nn.Parameter(0.05 * torch.randn(*shape))
        self.conv_w, self.conv_b = P(C, 1, c["taps"]), P(C)
        self.local_w, self.local_b = P(C, 1, c["local_taps"]), P(C)
        self.ld_w, self.ld_b = P(C, c["latent"], pooled), P(C, c["latent"])
        self.d_w, self.d_b = P(pooled, c["latent"]), P(pooled)
        sizes = [C] + c["dnn"]
        self.dnn_w = torch.nn.ParameterList(P(o, i) for i, o in zip(sizes, sizes[1:]))
        self.dnn_b = torch.nn.ParameterList(P(o) for o in sizes[1:])
        self.v, self.w = P(2, C), P(c["saaf.segments"], C)
        self.out_b = P(1)

    def saaf(self, x):  # (B,T,C), O(1) a sample: prefix sums and one gather for each coefficient; in fp32
        c, x = self.c, x.float()
        lo, S = c["saaf.lo"], c["saaf.segments"]
        D = (c["saaf.hi"] - lo) / S
        slope = torch.cat([self.v[1:2], self.v[1:2] + torch.cumsum(self.w, 0) * D])  # at break points
        left = torch.arange(S + 1, dtype=x.dtype, device=x.device)[:, None] * D + lo
        value = self.v[0] + self.v[1] * lo + torch.cat([torch.zeros_like(self.v[:1]), torch.cumsum((slope[:-1] + slope[1:]) * D / 2, 0)])
        k = torch.floor((x.detach() - lo) / D).clamp(0, S).long()
        inside = (x.detach() >= lo).to(x.dtype)
        w = torch.cat([self.w, torch.zeros_like(self.w[:1])])
        channel = torch.arange(x.shape[-1], device=x.device)
        t = x - left[k, 0]
        return value[k, channel] + t * (slope[k, channel] + t * (0.5 * inside * w[k, channel]))

    def forward(self, x):  # (B,T)
        c = self.c
        K, K2, P = c["taps"], c["local_taps"], c["pool"]
        left, left2 = (K - 1) // 2, (K2 - 1) // 2
        x1 = F.conv1d(F.pad(x[:, None], (left, K - 1 - left)), self.conv_w, self.conv_b)
        x2 = F.softplus(F.conv1d(F.pad(x1.abs(), (left2, K2 - 1 - left2)), self.local_w, self.local_b, groups=c["filters"]))
        z, positions = F.max_pool1d(x2, P, return_indices=True)
        h = F.softplus(torch.baddbmm(self.ld_b[:, None], z.transpose(0, 1), self.ld_w.transpose(1, 2)))  # (C,B,latent)
        z = F.softplus(F.linear(h, self.d_w, self.d_b)).transpose(0, 1)
        up = z.repeat_interleave(P, 2) if c["unpool"] == "hold" else F.max_unpool1d(z.contiguous(), positions, P)
        u = up * x1
        act, last = ACTIVATIONS[c["activation"]], len(c["dnn"]) - 1
        if self.dnn_as == "conv":
            for l, (w, b) in enumerate(zip(self.dnn_w, self.dnn_b)):
                u = F.conv1d(u, w[:, :, None], b)
                u = act(u) if l < last else u
            u = self.saaf(u.transpose(1, 2)).transpose(1, 2)
        else:
            u = u.transpose(1, 2)
            for l, (w, b) in enumerate(zip(self.dnn_w, self.dnn_b)):
                u = F.linear(u, w, b)
                u = act(u) if l < last else u
            u = self.saaf(u).transpose(1, 2)
        y = F.conv_transpose1d(u, self.conv_w)[:, 0]
        return y[:, left:left + c["frame"]] + self.out_b


HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
LARGEST_ERROR = {"fp32": 1e-5, "tf32": 2e-3, "bf16": 2e-2, "fp16": 4e-3}  # of a loss, relative


def frames_per_second(c, batch, seconds, dnn_as, device, precision, compiled=False):
    torch.manual_seed(1)
    model = Cafx(c, dnn_as).to(device)
    run = torch.compile(model, mode=os.environ.get("CAFX_TORCH_COMPILE", "max-autotune")) if compiled else model
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    x = (0.05 * torch.randn(batch, c["frame"])).to(device)
    target = torch.tanh(4 * x)

    half = HALVES.get(precision)
    scaled = precision == "fp16"
    scaler = torch.amp.GradScaler(device, enabled=scaled) if hasattr(torch.amp, "GradScaler") else torch.cuda.amp.GradScaler(enabled=scaled)

    def loss_of(net):
        with torch.autocast(device, dtype=half, enabled=half is not None):
            y = net(x)
        return F.l1_loss(y.float(), target)

    def step():
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss_of(run)).backward()
        scaler.step(optimizer)
        scaler.update()

    with torch.no_grad():
        loss, tf32 = loss_of(run).item(), torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        exact = F.l1_loss(model(x), target).item()
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    if not abs(loss - exact) <= LARGEST_ERROR[precision] * exact:
        sys.exit(f"torch's loss in {precision} is {loss}, in fp32 {exact}")

    for _ in range(5 if device == "cuda" else 1):
        step()
    wait()
    parts = []
    for _ in range(10):
        start, n = time.perf_counter(), 0
        while True:
            step()
            n += batch
            if n % (8 * batch) == 0 or device == "cpu":
                wait()
            else:
                continue
            dt = time.perf_counter() - start
            if dt >= seconds / 10:
                break
        parts.append(n / dt)
    return statistics.median(parts), loss, exact


def main():
    c, batch, threads, seconds = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    device = sys.argv[5] if len(sys.argv) > 5 else "cpu"
    torch.set_num_threads(threads)
    precision = sys.argv[6] if len(sys.argv) > 6 else "fp32"
    if precision not in LARGEST_ERROR:
        sys.exit(f"precision '{precision}': expected {', '.join(LARGEST_ERROR)}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU")
    ways = [(how, False) for how in ("linear", "conv")]
    if device == "cuda" and hasattr(torch, "compile"):
        ways += [(how, True) for how in ("linear", "conv")]
    measured = []
    for how, compiled in ways:
        speed, loss, exact = frames_per_second(c, batch, seconds / len(ways), how, device, precision, compiled)
        measured.append((speed, how, compiled, loss, exact))
        if device == "cpu" and len(measured) < len(ways):
            continue
        best = max(measured)
        result = {"frames_per_second": best[0], "dnn_as": best[1], "compiled": best[2], "precision": precision, "loss": best[3], "loss_fp32": best[4], "torch": torch.__version__,
                  "eager_frames_per_second": max(m[0] for m in measured if not m[2]), "threads": torch.get_num_threads(),
                  "environment": {k: v for k, v in os.environ.items() if k.startswith(("OMP_", "MKL_", "OPENBLAS_"))}}
        if device == "cuda":
            result["gpu"] = torch.cuda.get_device_name()
        print(json.dumps(result), flush=True)


main()
