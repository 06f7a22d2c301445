#!/usr/bin/python3
"""Makes s4.safetensors with nablafx 1.0.0 (PyPI), in double precision on the CPU.

    python3 tests/golden/make_s4.py NABLAFX      # the unpacked wheel; needs torch, einops and numpy

nablafx's processor S4 itself gives the outputs, autograd the gradients and torch.optim.Adam the ten steps. Weights are
drawn as nablafx draws them, rounded to float32 and read back.
"""
import importlib
import json
import sys
import types

import torch

from make_golden import Random, write_safetensors
from make_students import LOSS, relative_error


def nablafx_s4(folder):
    """The class S4, without the rest of the package and its dependencies."""
    for name, path in (("nablafx", ""), ("nablafx.processors", "/processors")):
        module = types.ModuleType(name)
        module.__path__ = [folder + "/nablafx" + path]
        sys.modules[name] = module
    rational = types.ModuleType("rational.torch")
    rational.Rational = None  # an activation that no config here asks for
    sys.modules["rational"], sys.modules["rational.torch"] = types.ModuleType("rational"), rational
    return importlib.import_module("nablafx.processors.s4").S4


def make(out, S4, name, c, seed):
    torch.manual_seed(seed)
    prefix, r = name + ".", Random(seed)
    model = S4(num_blocks=c["blocks"], channel_width=c["channels"], s4_state_dim=c["state"], residual=True,
               cond_type="tfilm" if c["film"] == "temporal" else None, cond_block_size=c["film_block"], act_type="tanh")
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.float().double())
    model = model.double()
    # Frequencies and dampings that differ from one oscillator to the next.
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "A_" in key:
                p.add_(0.2 * torch.rand_like(p)).copy_(p.float().double())
    x, target = (0.5 * r(c["batch"], c["length"])).detach(), r(c["batch"], c["length"]).detach()
    x = x.float().double()
    names = [key for key, _ in model.named_parameters()]
    for key, value in list(model.named_parameters()) + [("x", x), ("target", target)]:
        out[prefix + key] = value.detach().clone()

    def run():
        model.reset_states()
        return model(x[:, None, :])[:, 0]

    adam, losses = torch.optim.Adam(model.parameters(), lr=c["lr"]), []
    for step in range(10):
        y = run()
        loss = relative_error(y, target, target)
        adam.zero_grad()
        loss.backward()
        losses.append(loss.detach().reshape(1))
        if step == 0:
            out[prefix + "y"] = y.detach().clone()
            for key in names:
                out[prefix + "grad." + key] = dict(model.named_parameters())[key].grad.clone()
        adam.step()
    out[prefix + "losses"] = torch.cat(losses)
    return dict(c, **LOSS)


CASES = {
    "plain": dict(blocks=3, channels=6, state=4, film="none", film_block=128, batch=3, length=900, lr=1e-3),
    "film": dict(blocks=2, channels=5, state=3, film="temporal", film_block=16, batch=3, length=200, lr=1e-3),
    "s4-s": dict(blocks=4, channels=16, state=4, film="none", film_block=128, batch=1, length=1000, lr=1e-2),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    S4 = nablafx_s4(sys.argv[1])
    out, configs = {}, {}
    for i, (name, c) in enumerate(CASES.items()):
        configs[name] = make(out, S4, name, c, 200 + 10 * i)
    write_safetensors("s4.safetensors", out, {
        "config": json.dumps(configs, sort_keys=True), "precision": "float64, stored as float32",
        "torch": torch.__version__, "nablafx": "1.0.0"})
