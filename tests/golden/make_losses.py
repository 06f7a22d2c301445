#!/usr/bin/python3
"""Makes losses.safetensors: terms of the training loss and their gradients by auraloss 0.4, in double precision.

    python3 -m venv --system-site-packages VENV && VENV/bin/pip install --no-deps auraloss==0.4.0
    VENV/bin/python tests/golden/make_losses.py

PyTorch is Debian's python3-torch, 1.13. Pre-emphasis is y[t] - 0.85 y[t-1] from rest on both signals. What takes too short a
place for a resolution leaves that resolution out. Run twice, it writes the same bytes.
"""
import auraloss
import torch

from make_golden import Random, write_safetensors

SIZES = [(1024, 120, 600), (2048, 240, 1200), (512, 50, 240)]


def mr_stft(sizes=SIZES, **weights):
    loss = auraloss.freq.MultiResolutionSTFTLoss(*[[s[i] for s in sizes] for i in range(3)], **weights)
    for part in loss.stft_losses:
        part.window = torch.hann_window(part.win_length, dtype=torch.float64)
    return loss


def filtered(x):
    return torch.cat([x[..., :1], x[..., 1:] - 0.85 * x[..., :-1]], dim=-1)


def signals(random, length):
    """Noise; y is half of it, then twice of it, and some noise of its own."""
    target, own = random(length).detach(), random(length, scale=0.02).detach()
    like = torch.cat([0.5 * target[:length // 2], 2.0 * target[length // 2:]])
    return (like + own).float().double(), target


def main():
    random, tensors = Random(17), {}

    def add(name, loss, y, target, before=lambda x: x):
        y = y.detach().requires_grad_()
        value = loss(before(y)[None, None], before(target)[None, None])
        value.backward()
        tensors[name + ".loss"], tensors[name + ".dy"] = value.reshape(1), y.grad

    y, target = signals(random, 1300)
    tensors["y"], tensors["target"] = y, target
    add("mse", torch.nn.MSELoss(), y, target)
    add("esr", auraloss.time.ESRLoss(), y, target)
    add("esr_pre_emphasis", auraloss.time.ESRLoss(), y, target, filtered)
    add("dc", auraloss.time.DCLoss(), y, target)
    add("log_cosh", auraloss.time.LogCoshLoss(eps=0.0), y, target)
    add("mr_stft", mr_stft(), y, target)
    add("mr_stft_pre_emphasis", mr_stft(), y, target, filtered)
    add("mr_stft_linear", mr_stft(w_sc=0.5, w_log_mag=0.0, w_lin_mag=2.0), y, target)
    y, target = signals(random, 700)
    tensors["short_y"], tensors["short_target"] = y, target
    add("short_mr_stft", mr_stft([s for s in SIZES if 700 > s[0] // 2]), y, target)
    write_safetensors("losses.safetensors", tensors, {"source": "auraloss 0.4.0"})


if __name__ == "__main__":
    main()
