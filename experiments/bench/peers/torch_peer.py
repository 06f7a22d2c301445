"""CAFx in PyTorch, any version: torch_peer.py CASE THREADS LOSSES (peer.py)."""
import sys

import torch
import torch.nn.functional as F

from peer import case_from_arguments, serve

case = case_from_arguments()
c = case.c
C, K, K2, P, T = c["filters"], c["taps"], c["local_taps"], c["pool"], c["frame"]
LEFT, LEFT2 = (K - 1) // 2, (K2 - 1) // 2
ACTIVATION = {"relu": torch.relu, "tanh": torch.tanh, "softplus": F.softplus, "identity": lambda x: x}[c["activation"]]


def saaf(x, v, w, how):  # (.., C)
    lo, S = c["saaf.lo"], c["saaf.segments"]
    D = (c["saaf.hi"] - lo) / S
    if how == "basis":  # every segment's basis function; good where a compiler makes one loop of it
        y = v[0] + v[1] * x
        for s in range(S):
            t = (x - (lo + s * D)).clamp(0, D)
            y = y + w[s] * (0.5 * t * t + D * F.relu(x - (lo + (s + 1) * D)))
        return y
    # O(1) a sample: prefix sums, and one gather for each coefficient.
    slope = torch.cat([v[1:2], v[1:2] + torch.cumsum(w, 0) * D])
    left = torch.arange(S + 1, dtype=x.dtype)[:, None] * D + lo
    value = v[0] + v[1] * lo + torch.cat([torch.zeros_like(v[:1]), torch.cumsum((slope[:-1] + slope[1:]) * D / 2, 0)])
    k = torch.floor((x.detach() - lo) / D).clamp(0, S).long()
    inside = (x.detach() >= lo).to(x.dtype)
    channel = torch.arange(C)
    t = x - left[k, 0]
    return value[k, channel] + t * (slope[k, channel] + t * (0.5 * inside * torch.cat([w, torch.zeros_like(w[:1])])[k, channel]))


class Cafx(torch.nn.Module):
    """layout `first` is (B,C,T) with conv1d; `last` is (B,C,1,T) in channels-last memory with conv2d, and the dense layers of
    DNN-SAAF as matrix products; `first` with dnn `conv` has them as 1x1 convolutions."""

    def __init__(self, kind, layout, dnn, curve):
        super().__init__()
        self.kind, self.layout, self.dnn, self.curve = kind, layout, dnn, curve
        for name in case.names(kind):
            self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(torch.from_numpy(case.tensors[name].copy())))

    def forward(self, x):  # (B,T)
        p = lambda name: getattr(self, name)
        last = self.layout == "last"
        if last:
            x1 = F.conv2d(F.pad(x[:, None, None], (LEFT, K - 1 - LEFT)).contiguous(memory_format=torch.channels_last), p("conv1d_weight")[:, :, None], p("conv1d_bias"))
            x2 = F.conv2d(F.pad(x1.abs(), (LEFT2, K2 - 1 - LEFT2)), p("local_conv_weight")[:, :, None], p("local_conv_bias"), groups=C)
            z, positions = F.max_pool2d(F.softplus(x2), (1, P), return_indices=True)
            x1, z, positions = x1[:, :, 0], z[:, :, 0], positions[:, :, 0]
        else:
            x1 = F.conv1d(F.pad(x[:, None], (LEFT, K - 1 - LEFT)), p("conv1d_weight"), p("conv1d_bias"))
            x2 = F.conv1d(F.pad(x1.abs(), (LEFT2, K2 - 1 - LEFT2)), p("local_conv_weight"), p("local_conv_bias"), groups=C)
            z, positions = F.max_pool1d(F.softplus(x2), P, return_indices=True)
        if self.kind == "pretrain":
            u = F.max_unpool1d(z.contiguous(), positions.contiguous(), P) * x1
        else:
            h = F.softplus(torch.baddbmm(p("local_dense_bias")[:, None], z.permute(1, 0, 2), p("local_dense_weight").transpose(1, 2)))
            z = F.softplus(F.linear(h, p("dense_weight"), p("dense_bias"))).transpose(0, 1)  # (B,C,T/P)
            conv = self.dnn == "conv"
            if conv:
                u = z.repeat_interleave(P, 2) * x1
            else:
                u = z.transpose(1, 2).repeat_interleave(P, 1) * x1.transpose(1, 2)
            n = len(c["dnn"])
            for l in range(n):
                w, b = p(f"dnn_{l}_weight"), p(f"dnn_{l}_bias")
                u = F.conv1d(u, w[:, :, None], b) if conv else F.linear(u, w, b)
                u = ACTIVATION(u) if l < n - 1 else u
            if c["saaf.enabled"]:
                u = saaf(u.transpose(1, 2) if conv else u, p("saaf_v"), p("saaf_w"), self.curve)
                u = u.transpose(1, 2) if conv else u
            u = u if conv else u.transpose(1, 2)
        if last:
            y = F.conv_transpose2d(u[:, :, None].contiguous(memory_format=torch.channels_last), p("conv1d_weight")[:, :, None])[:, 0, 0]
        else:
            y = F.conv_transpose1d(u, p("conv1d_weight"))[:, 0]
        return y[:, LEFT:LEFT + T] + p("deconv_bias")


def way(layout, dnn, curve, compiled):
    def make(kind):
        if kind == "pretrain" and dnn == "conv":
            return None  # there is no DNN-SAAF in it
        model = Cafx(kind, layout, dnn, curve)
        x = torch.from_numpy(case.input)
        target = x if kind == "pretrain" else torch.from_numpy(case.target)
        run = torch.compile(model) if compiled else model
        if kind == "render":
            def step():
                with torch.no_grad():
                    return run(x)
            with torch.no_grad():
                return step, float(F.l1_loss(run(x), target))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)

        def step():
            optimizer.zero_grad(set_to_none=True)
            loss = F.l1_loss(run(x), target)
            loss.backward()
            optimizer.step()
            return float(loss.detach())
        return step, step()
    return make


torch.set_num_threads(case.threads)
ways = {"channels first, 1x1 convolutions": way("first", "conv", "gather", False), "channels first": way("first", "linear", "gather", False),
        "channels last": way("last", "linear", "gather", False)}
if hasattr(torch, "compile"):
    ways |= {"compiled, channels first": way("first", "linear", "basis", True), "compiled, channels last": way("last", "linear", "basis", True),
             "compiled, channels first, 1x1 convolutions": way("first", "conv", "basis", True)}
capability = torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else \
    next((l.split(":")[1].strip() for l in torch.__config__.show().splitlines() if "CPU capability" in l), "?")
serve("PyTorch", torch.__version__, f"Python {sys.version.split()[0]}, {torch.get_num_threads()} threads, own kernels {capability}, oneDNN {torch.backends.mkldnn.is_available()}, MKL {torch.backends.mkl.is_available()}", ways, case)
