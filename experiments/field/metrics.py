"""ESR and MR-STFT of whole pieces. One implementation for every system, in double precision.

ESR = sum (y - o)^2 / sum y^2.   MR-STFT: auraloss's MultiResolutionSTFTLoss with its defaults, as host/metrics/spectral.h says.
"""
import numpy as np

RESOLUTIONS = [(1024, 120, 600), (2048, 240, 1200), (512, 50, 240)]  # FFT, hop, window


def read(path):
    """Samples of a mono file of 16 bit or of 32 bit float, and its rate."""
    with open(path, "rb") as file:
        data = file.read()
    at, kind, rate, audio = 12, 1, 0, b""
    while at + 8 <= len(data):
        name, size = data[at:at + 4], int.from_bytes(data[at + 4:at + 8], "little")
        body = data[at + 8:at + 8 + size]
        if name == b"fmt ":
            kind, channels, rate = (int.from_bytes(body[a:b], "little") for a, b in ((0, 2), (2, 4), (4, 8)))
            bits = int.from_bytes(body[14:16], "little")
            kind = int.from_bytes(body[24:26], "little") if kind == 0xFFFE else kind
        elif name == b"data":
            audio = body
        at += 8 + size + (size & 1)
    if not rate or channels != 1 or (kind, bits) not in ((1, 16), (1, 24), (3, 32)):
        raise ValueError("%s: expected one channel of 16, 24 or 32 bit float" % path)
    if kind == 3:
        return np.frombuffer(audio, "<f4").astype(np.float64), rate
    if bits == 24:
        b = np.frombuffer(audio, np.uint8).reshape(-1, 3).astype(np.int32)
        return ((b[:, 0] | b[:, 1] << 8 | b[:, 2] << 16) ^ 0x800000) / 8388608.0 - 1, rate
    return np.frombuffer(audio, "<i2").astype(np.float64) / 32768, rate


def esr(target, output):
    return float(np.sum((target - output) ** 2) / np.sum(target ** 2))


def powers(x, n_fft, hop, window):
    w = np.zeros(n_fft)
    left = (n_fft - window) // 2
    w[left:left + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    x = np.pad(x, n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(x, n_fft)[::hop]
    return np.concatenate([np.abs(np.fft.rfft(part * w, axis=1)) ** 2 for part in np.array_split(frames, max(1, len(frames) // 512))])


def mr_stft(target, output):
    total = 0.0
    for n_fft, hop, window in RESOLUTIONS:
        p, q = (np.maximum(1e-8, powers(x, n_fft, hop, window)) for x in (target, output))
        convergence = np.sqrt(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2) / np.sum(p))
        total += convergence + 0.5 * np.mean(np.abs(np.log(p) - np.log(q)))
    return float(total / len(RESOLUTIONS))


def measured(pieces, target, output):
    """Means over the pieces of a file, whose lengths are given."""
    if len(output) < sum(pieces):
        raise ValueError("%d samples of output, %d are needed" % (len(output), sum(pieces)))
    ends = np.cumsum(pieces)
    cut = [(target[e - n:e], output[e - n:e]) for e, n in zip(ends, pieces)]
    return {"esr": float(np.mean([esr(*c) for c in cut])), "mr_stft": float(np.mean([mr_stft(*c) for c in cut]))}
