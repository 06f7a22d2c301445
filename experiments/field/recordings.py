"""The recordings that all systems of field.py learn from and are measured on: dry and wet, 44.1 kHz, 16 bit, mono.

    DATA/dry/{take,notes,phrases}.wav   DATA/DEVICE/{take,notes,phrases}.wav   DATA/recordings.json

`take` is one recording as a player makes it: notes of a guitar, a pause, then the notes for validation. `notes` are others of the same
guitars, `phrases` are played by the guitars of fluid-soundfont-gm (MIT): a riff, ringing chords, strummed fifths, a run with bends. No
system sees either before it is measured. Notes peak at -6 dB, as an interface records them, and go through each device in one piece, so
that its memory is that of the device. A wet file is as late as its device's filters, less the whole samples that make_notes.py knows of.
"""
import os
import sys
import tempfile

import numpy as np

EXPERIMENTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [EXPERIMENTS, os.path.join(os.path.dirname(EXPERIMENTS), "datasets", "generate")]
import make_notes  # noqa: E402
from kept import keep, read  # noqa: E402

RATE = make_notes.RATE
FRONT = make_notes.FRONT_DB  # what brings the notes of make_notes.py to an interface's level
# Device: plugin or SoX effects, gain in front, latency, gain behind. Those of experiments/recipe.
DEVICES = {"ds1": "dist2", "muff": "dist3", "high-gain": "amp3", "fxchain1": "fxchain1", "ts9": "over1", "compressor": None}
COMPANDER = "compand 0.003,0.15 6:-70,-70,-50,-38,-20,-20,0,-14"
PAUSE = RATE // 2


def device_chain(name):
    effect = DEVICES[name]
    if effect is None:
        return COMPANDER, -FRONT, 0, FRONT - 6
    latency, gain, what = make_notes.EFFECTS[effect][4:]
    return what, -FRONT if effect.startswith("fxchain") else 0, latency, gain


def phrase_events():
    """Four phrases as (program, beats, [(beat, length, key, velocity)], [(beat, bend in cents)]) at 120 beats a minute."""
    riff = [(0.5 * i, 0.4 if i % 3 else 0.9, k, 112 - 9 * (i % 4)) for i, k in enumerate([40, 40, 43, 40, 45, 40, 46, 45, 43, 40, 40, 47])]
    chords = [[45, 52, 57, 60, 64], [41, 48, 53, 57, 60], [48, 52, 55, 60, 64], [43, 50, 55, 59, 62]]
    ringing = [(3 * c + 0.5 * i, 3.2 - 0.5 * i, k, 74 + 6 * i) for c, chord in enumerate(chords) for i, k in enumerate(chord)]
    fifths = [(b, 0.4, r + d, 118) for b, r in [(0, 40), (0.75, 40), (1.5, 43), (2, 45), (3, 45), (3.75, 47), (4.5, 43), (5, 40), (6, 52)]
              for d in (0, 7, 12)]
    run = [(0.25 * i, 0.26, k, 90 + 5 * (i % 5)) for i, k in enumerate([76, 79, 76, 74, 72, 74, 72, 69, 72, 69, 67, 69, 67, 64, 67, 69])]
    run += [(4, 2.5, 76, 115), (7, 2, 69, 64)]
    bends = [(4 + 0.05 * i, min(200, 20 * i)) for i in range(40)] + [(6.9, 0)]
    return [(27, 7, riff, []), (26, 13, ringing, []), (27, 8, fifths, []), (26, 10, run, bends)]


def played(program, beats, notes, bends):
    """A phrase, rendered by fluidsynth from half a second before its first note; the loudest sample is -6 dB."""
    events = [(0, bytes([0xC0, program])), (0, b"\xB0\x65\x00"), (0, b"\xB0\x64\x00"), (0, b"\xB0\x06\x02"), (0, b"\xB0\x26\x00"),
              (0, b"\xB0\x07\x7F"), (0, b"\xB0\x5B\x00"), (0, b"\xB0\x5D\x00")]  # bend range 2, no reverb, no chorus
    start = 960
    for beat, length, key, velocity in notes:
        at = start + int(480 * beat)
        events += [(at, bytes([0x90, key, velocity])), (at + int(480 * length), bytes([0x80, key, 0]))]
    for beat, cents in bends:
        bend = min(16383, 8192 + int(8192 * cents / 200))
        events.append((start + int(480 * beat), bytes([0xE0, bend & 127, bend >> 7])))
    with tempfile.TemporaryDirectory() as folder:
        mid, wav = os.path.join(folder, "p.mid"), os.path.join(folder, "p.wav")
        make_notes.write_midi(events, start + 480 * (beats + 2), mid)
        make_notes.fluidsynth(mid, wav)
        x = make_notes.samples(wav)
    x = x[RATE // 2: RATE + int(beats * RATE / 2)]
    return 0.5 * x / np.abs(x).max()


def dealt(folder, n_train, n_validation, n_test):
    """Dry notes for training, validation and test: evenly spread over all that there are, the parts spread over each other."""
    base = os.path.join(folder, make_notes.FOLDERS["guitar"], "Samples", "NoFX")
    names = sorted(n for n in os.listdir(base) if n.endswith(".wav")) if os.path.isdir(base) else []
    n = n_train + n_validation + n_test
    if len(names) < n:
        raise SystemExit("%s: %d dry notes, %d are needed; datasets/generate/make_notes.py makes them (--notes)" % (base, len(names), n))
    chosen = [os.path.join(base, names[(k * len(names) + len(names) // 2) // n]) for k in range(n)]
    parts, rest = {}, list(range(n))
    for part, count in (("notes", n_test), ("validation", n_validation)):
        picked = [rest[(k * len(rest) + len(rest) // 2) // count] for k in range(count)]
        parts[part] = [chosen[i] for i in picked]
        rest = [i for i in rest if i not in picked]
    parts["train"] = [chosen[i] for i in rest]
    return parts


def made(folder, notes, devices, n_train, n_validation, n_test):
    """Makes what is missing in FOLDER from the dry notes in NOTES; returns its description."""
    about = os.path.join(folder, "recordings.json")
    os.makedirs(os.path.join(folder, "dry"), exist_ok=True)
    if not os.path.exists(about):
        parts = dealt(notes, n_train, n_validation, n_test)
        gain = 10 ** (FRONT / 20)
        joined = {p: [np.clip(gain * make_notes.samples(f), -1, 1) for f in files] for p, files in parts.items()}
        phrases = [played(*p) for p in phrase_events()]
        train = np.concatenate(joined["train"])
        files = {"take": [train, np.zeros(PAUSE)] + joined["validation"], "notes": joined["notes"], "phrases": phrases}
        for name, pieces in files.items():
            make_notes.write(os.path.join(folder, "dry", name + ".wav"), np.concatenate(pieces))
        description = {"rate": RATE, "train_stop": len(train), "validation_start": len(train) + PAUSE,
                       "pieces": {k: [len(p) for p in files[k]] for k in ("notes", "phrases")},
                       "seconds": {k: sum(map(len, p)) / RATE for k, p in files.items()},
                       "notes": {k: [os.path.basename(f)[:9] for f in p] for k, p in parts.items()}}
        keep(about, description)
    for device in devices:
        os.makedirs(os.path.join(folder, device), exist_ok=True)
        for name in ("take", "notes", "phrases"):
            wet = os.path.join(folder, device, name + ".wav")
            if not os.path.exists(wet):
                make_notes.play(device_chain(device)[0], os.path.join(folder, "dry", name + ".wav"), wet, *device_chain(device)[1:])
    return read(about)
