#!/usr/bin/python3
"""Makes metrics.safetensors: signals, and what librosa, scipy and auraloss say of them, in double precision.

    /usr/bin/python3 -m venv --system-site-packages VENV        # torch is Debian's python3-torch
    VENV/bin/pip install "numpy<2" scipy librosa && VENV/bin/pip install --no-deps auraloss
    VENV/bin/python tests/golden/make_metrics.py

Nothing here is taken from cafx: mel spectrogram, dB and DCT are librosa's, cosine distance, Hilbert transform, resampling and
filters are scipy's, MR-STFT is auraloss'. Two filters have no library form; they are written here from their source:
Slaney's gammatone sections (Apple technical report 35) and the band pass of the audio EQ cookbook.
"""
import os
import warnings

import auraloss
import librosa
import numpy as np
import scipy
import scipy.fft
import scipy.signal
import scipy.spatial
import torch
from make_golden import write_safetensors

RATE = 16000


def slaney_sections(hz, rate):
    """scipy's sos: the four sections of Slaney's gammatone, each with gain 1 at the centre."""
    t = 1.0 / rate
    b = 1.019 * 2 * np.pi * (hz / 9.265 + 24.7)
    arg, e = 2 * hz * np.pi * t, np.exp(-b * t)
    rows = []
    for sign, inner in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        root = sign * np.sqrt(3 + inner * 2 ** 1.5)
        row = np.array([t, -(2 * t * np.cos(arg) * e + 2 * root * t * np.sin(arg) * e) / 2, 0, 1, -2 * np.cos(arg) * e, e * e])
        gain = np.abs(scipy.signal.sosfreqz(row[None], worN=[hz], fs=rate)[1][0])
        row[:3] /= gain
        rows.append(row)
    return np.array(rows)


def cookbook_band_pass(hz, rate, q=1.0):
    w = 2 * np.pi * hz / rate
    alpha = np.sin(w) / (2 * q)
    return np.array([alpha, 0, -alpha]), np.array([1 + alpha, -2 * np.cos(w), 1 - alpha])


def modulation_spectrum(x):
    quarter = RATE // 4
    x = np.pad(x, (0, -len(x) % quarter))
    n = len(x) * 400 // RATE
    energy = np.zeros(n // 2 + 1)
    for hz in np.logspace(np.log10(26), np.log10(6950), 12):
        band = scipy.signal.sosfilt(slaney_sections(hz, RATE), x)
        level = scipy.signal.resample(np.abs(scipy.signal.hilbert(band)), n)
        for f in np.logspace(np.log10(0.5), np.log10(100), 12):
            energy += np.abs(scipy.fft.rfft(scipy.signal.lfilter(*cookbook_band_pass(f, 400), level))) ** 2
    return energy


def ms_mse(y, o):
    return np.mean((np.log(modulation_spectrum(y) + 1e-12) - np.log(modulation_spectrum(o) + 1e-12)) ** 2)


def mfcc(x):
    rms = np.sqrt(np.mean(x ** 2))
    s = librosa.feature.melspectrogram(y=x / rms if rms > 0 else x, sr=RATE, n_fft=4096, hop_length=2048, n_mels=40)
    return librosa.feature.mfcc(S=librosa.power_to_db(s, ref=np.max), n_mfcc=13).T


def mfcc_cosine(y, o):
    a, b = mfcc(y), mfcc(o)
    if not a.any() or not b.any():
        return 0.0 if a.any() == b.any() else 1.0
    return np.mean([scipy.spatial.distance.cosine(p, q) for p, q in zip(a, b)])


def mr_stft(y, o):
    loss = auraloss.freq.MultiResolutionSTFTLoss()
    loss = loss.double()
    for one in loss.stft_losses:
        one.window = one.window.double()
    return float(loss(torch.tensor(o)[None, None], torch.tensor(y)[None, None]))


def envelope(y, o):
    """Attack and decay errors in dB, by a moving average of scipy's."""
    def level(x):
        half, step = round(0.005 * RATE), 0.0025 * RATE
        sums = scipy.signal.convolve(np.pad(x ** 2, half), np.ones(2 * half), mode="full")
        counts = scipy.signal.convolve(np.pad(np.ones(len(x)), half), np.ones(2 * half), mode="full")
        at = np.round(np.arange(0, len(x), step)).astype(int) + 2 * half - 1  # sum over x[c - half, c + half)
        return np.sqrt(np.maximum(sums[at] / counts[at], 0))
    a, b = level(y), level(o)
    if a.max() < 1e-12:
        return (0.0, 0.0) if b.max() < 1e-12 else (np.inf, np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        da = np.maximum(20 * np.log10(a / a.max()), -60)
        db = np.maximum(20 * np.log10(b / a.max()), -60)
    onset, last = np.flatnonzero(da >= -20)[0], np.flatnonzero(da > -50)[-1]
    error, end = np.abs(da - db), min(len(a), onset + 41)
    decay = error[end:last + 1]
    return np.mean(error[max(0, onset - 4):end]), np.mean(decay) if len(decay) else 0.0


def signals():
    r = np.random.RandomState(7)
    t = np.arange(int(1.3 * RATE) + 137) / RATE
    note = 0.08 * np.sin(2 * np.pi * 196 * t + 3 * np.sin(2 * np.pi * 392 * t)) * np.exp(-3 * np.maximum(t - 0.2, 0)) * (t > 0.2)
    note = note * np.clip((1.1 - t) / 0.05, 0, 1) * np.clip((t - 0.2) / 0.08, 0, 1)  # neither end is sudden
    hard = np.tanh(12 * note) * 0.5
    short = r.normal(0, 0.1, 3001)
    for name, y, o in (
            ("note", hard, 0.47 * np.tanh(11.5 * np.roll(note, 1)) + r.normal(0, 1e-3, len(t))),
            ("dry", hard, note),
            ("hiss", note, note + r.normal(0, 0.01, len(t))),
            ("short", short, np.roll(short, 2) * 0.9),
            ("constant", np.full(4096, 0.25), np.full(4096, 0.2)),
            ("silent_output", note, np.zeros(len(t))),
            ("silent_target", np.zeros(4096), r.normal(0, 0.1, 4096)),
            ("silent", np.zeros(4096), np.zeros(4096))):
        yield name, y.astype(np.float32).astype(np.float64), o.astype(np.float32).astype(np.float64)


def main():
    out = {}
    for name, y, o in signals():
        r = np.mean(np.abs(y)) / np.mean(np.abs(o)) if np.any(o) else 1.0
        attack, decay = envelope(y, o)
        values = {"mae": np.mean(np.abs(y - o)), "mae_matched": np.mean(np.abs(y - r * o)),
                  "mfcc_cosine": mfcc_cosine(y, o), "ms_mse": ms_mse(y, o), "mr_stft": mr_stft(y, o), "attack_db": attack,
                  "decay_db": decay}
        if np.any(y):
            emphasis = [scipy.signal.lfilter([1, -0.95], [1], v) for v in (y, o)]
            values["esr"] = np.sum((y - o) ** 2) / np.sum(y ** 2)
            values["esr_emphasis"] = np.sum((emphasis[0] - emphasis[1]) ** 2) / np.sum(emphasis[0] ** 2)
        out[name + ".target"], out[name + ".output"] = y, o
        for key, value in values.items():
            out["%s.%s" % (name, key)] = np.array([value])
            print("%-16s %-14s %.7g" % (name, key, value))
    write_safetensors("metrics.safetensors", out, {
        "librosa": librosa.__version__, "scipy": scipy.__version__, "numpy": np.__version__,
        "auraloss": "0.4.0", "torch": torch.__version__})


main()
