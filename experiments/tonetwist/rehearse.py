#!/usr/bin/python3
"""Makes a small data set in the layout of ToneTwist AFx, to rehearse tonetwist.py: noise bursts and tones through two made devices.

    experiments/tonetwist/rehearse.py FOLDER [--seconds 12] [--test-seconds 10]

    FOLDER/ANALOG/DRY-with-markers/{trainval,test}/guitar.input.wav
    FOLDER/ANALOG/HarleyBenton-FuzzyLogic/{trainval,test}/V100_F050/V100_F050.guitar.target.wav, and another setting beside it
    FOLDER/EXTERNAL/keith-bloemer/DRY/..., FOLDER/EXTERNAL/keith-bloemer/Ibanez-TS9/...

48 kHz, 32 bit float, mono, two impulses in front and one behind. The audio is made here and has nothing to do with the devices named.
"""
import argparse
import array
import cmath
import math
import os
import random
import struct

RATE = 48000


def write(path, x):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    body = array.array("f", x).tobytes()
    with open(path, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + len(body)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, RATE, 4 * RATE, 4, 32))
        file.write(b"data" + struct.pack("<I", len(body)) + body)


def music(seconds, seed):
    """Plucked tones, one every third of a second, each of four decaying partials."""
    draw, x = random.Random(seed), [0.0] * int(seconds * RATE)
    for start in range(0, len(x), RATE // 3):
        pitch, level = 82.4 * 2 ** (draw.randrange(30) / 12), draw.uniform(0.05, 0.2)
        for k in range(1, 5):
            turn, fade = cmath.rect(1, 2 * math.pi * pitch * k / RATE), math.exp(-3 * k / RATE)
            z = complex(0, -level / k)
            for n in range(start, min(len(x), start + RATE // 2)):
                x[n] += z.real
                z *= turn * fade
    return x


def overdrive(x):
    y, low = [], 0.0
    for v in x:
        low += 0.3 * (math.tanh(6 * v + 0.2) - low)
        y.append(0.5 * (low - math.tanh(0.2)))
    return y


def fuzz(x):
    y, level = [], 0.0
    for v in x:
        level = max(abs(v), level * 0.9995)
        y.append(0.4 * math.tanh(12 * v / (0.2 + 4 * level)))
    return y


def marked(x, level):
    before, after = [0.0] * (2 * RATE), [0.0] * RATE
    before[RATE // 2] = before[3 * RATE // 2] = after[RATE // 2] = level
    return before + x + after


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("--seconds", type=float, default=12, help="of the training part")
    p.add_argument("--test-seconds", type=float, default=10)
    args = p.parse_args()
    for place, dry, name, setting, effect in (
            ("ANALOG", "DRY-with-markers", "HarleyBenton-FuzzyLogic", "V100_F050", fuzz),
            ("ANALOG", "DRY-with-markers", "HarleyBenton-FuzzyLogic", "V100_F100", overdrive),
            (os.path.join("EXTERNAL", "keith-bloemer"), "DRY", "Ibanez-TS9", "V050_T050_D100", overdrive)):
        for part, seconds, seed in (("trainval", args.seconds, 1), ("test", args.test_seconds, 2)):
            x = music(seconds, seed)
            top = os.path.join(args.folder, place)
            write(os.path.join(top, dry, part, "guitar.input.wav"), marked(x, 0.9))
            write(os.path.join(top, name, part, setting, setting + ".guitar.target.wav"), marked(effect(x), 0.4))


if __name__ == "__main__":
    main()
