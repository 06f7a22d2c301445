"""The ops of one supervised step of CAFx: least FLOP and bytes of each, and the names of its kernels.

FLOPs, and bytes with every operand read once and every result written once; floors are an H100's: 3.35 TB/s by its data sheet,
67 TFLOP/s in fp32; 400 in tf32 and 800 in bf16 and fp16, about what its libraries reach.
"""
import re

BANDWIDTH = 3.35e12
FLOPS = {"fp32": 67e12, "tf32": 400e12, "bf16": 800e12, "fp16": 800e12}


def plain(name):
    """A kernel's normalised name: without namespaces, templates of functions, spaces and const."""
    name = re.sub(r"\((?:cafx::)?Activation\)|cafx::|cuda::|conv_fp32::|\(anonymous namespace\)::|<unnamed>::|\(Activation\)|\(bool\)|\(int\)|\bconst\b|^void ", "", name)
    return re.sub(r"\s+", "", name)


class Op:
    def __init__(self, label, pattern, least, flops):
        self.label, self.pattern, self.least, self.flops = label, re.compile(pattern), least, flops

    def floor(self, precision="fp32"):
        return max(self.least / BANDWIDTH, self.flops / FLOPS[precision])


CONV = r"forward_kernel.*Conv1dDims|^lib:forward|convolve_|fprop"


def ops(c, B, precision="fp32", du_apart=True):
    """du_apart: deConv1D backward, to u, is a pass like Conv1D's; else DNN-SAAF's backward computes it for itself."""
    T, C, K1, K2, P, latent = (c[k] for k in ("frame", "filters", "taps", "local_taps", "pool", "latent"))
    widths, F = [C] + list(c["dnn"]), 4
    pooled = T // P
    stored = 2 if precision in ("bf16", "fp16") else F  # X1, u and their gradients (kernels/device/precision.h)
    tensor, small, hidden, signal, padded = B * T * C * stored, B * pooled * C * F, B * latent * C * F, B * T * F, B * (T + K1 - 1) * F
    dnn, conv, local = sum(a * b for a, b in zip(widths, widths[1:])), 2 * B * T * C * K1, C * pooled * latent * F
    passes, du, du_flops = (2, tensor, 0) if du_apart else (1, padded, conv)
    return [
        Op("gather frames", r"gather_frames|begin_kernel", 2 * signal + padded + signal, 0),
        Op("Conv1D; deConv1D backward, to u" if du_apart else "Conv1D", CONV, passes * (padded + tensor), passes * conv),
        Op("abs, Conv1D-Local, softplus, pool", r"pool_kernel", tensor + 2 * small, 2 * B * T * C * K2),
        Op("Dense-Local", r"forward_kernel.*LatentDims|(forward\w*|product)(_kernel)?<\d,?(false|0)?>.*LocalDenseDims", small + hidden + local, 2 * B * C * pooled * latent),
        Op("DNN-SAAF forward", r"forward\w*<.*Operands", 2 * tensor + small, 2 * B * T * dnn),
        Op("deConv1D", r"data_kernel.*Conv1dDims|deconv_kernel|^lib:backward data|dgrad", tensor + padded, conv),
        Op("crop and bias", r"deconv1d_forward", padded + signal, 0),
        Op("MAE and its gradient", r"mae_kernel", 2 * signal + padded, 0),
        Op("deConv1D and Conv1D backward, filters", r"filter_kernel|^lib:backward filter|wgrad", 2 * (padded + tensor), 2 * conv),
        Op("DNN-SAAF backward", r"backward\w*<.*Operands|finish_kernel|dnn_saaf_backward|dnn_persistent::", 2 * tensor + du + 2 * small, 2 * 2 * B * T * dnn + du_flops),
        Op("Dense-Local backward", r"backward_kernel.*LatentDims|latent_backward|latent_mma::add_slices|product_kernel<\d,(true|1)>.*LocalDense|weights_kernel", 2 * small + 3 * hidden + 2 * local, 4 * B * C * pooled * latent),
        Op("Conv1D-Local backward", r"back_kernel|front_end_backward", 3 * tensor + 3 * small, 2 * 2 * B * pooled * C * K2),
    ]


REST = "Dense, Adam, sums and all else"


def number(x):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if x >= size:
            return f"{x / size:.3g} {unit}"
    return f"{x:.3g}"
