#!/usr/bin/python3
"""Makes dry and wet guitar and bass notes from Debian packages, named and laid out as IDMT-SMT-Audio-Effects, and dry notes of
instruments to be tried on models of either.

    datasets/generate/make_notes.py FOLDER                        40 guitar and 40 bass notes, 12 effects
    datasets/generate/make_notes.py FOLDER --notes 624            as many as the data set has
    datasets/generate/make_notes.py FOLDER --effects dist1,over2 --instrument guitar --jobs 4
    datasets/generate/make_notes.py FOLDER --instrument unheard   piano, voice and organ, dry, in FOLDER/Unheard

44.1 kHz, 16 bit, mono, 88201 samples a file. Dry notes are renderings of recorded samples: fluid-soundfont-gm (MIT) through
fluidsynth, freepats (GPL with an exception for music) through timidity; --mit leaves the latter out. Effects are circuit
models of guitarix, CAPS and TAP plugins and SoX; --list names them. Only what is missing is made, so it can be stopped and called
again. The same packages give the same bytes, whatever the number of notes and jobs.

Packages: fluidsynth fluid-soundfont-gm freepats timidity sox lv2file guitarix-lv2 caps tap-plugins python3-numpy
"""
import argparse
import concurrent.futures
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import wave

import numpy as np

RATE, LENGTH = 44100, 88201
SPACING = 141120  # samples from note to note in a rendering: 3072 ticks, a whole number of the synthesiser's blocks
SOUNDFONT = os.environ.get("SF2", "/usr/share/sounds/sf2/FluidR3_GM.sf2")
PATCHES = os.environ.get("PATCFG", "/etc/timidity/freepats.cfg")
PROGRAMS = {"fluidsynth": "fluidsynth", "timidity": "timidity", "sox": "sox", "soxi": "sox", "lv2file": "lv2file"}
FILES = {SOUNDFONT: "fluid-soundfont-gm", PATCHES: "freepats", "/usr/lib/ladspa/caps.so": "caps",
         "/usr/lib/ladspa/tap_sigmoid.so": "tap-plugins", "/usr/lib/lv2/gx_bossds1.lv2": "guitarix-lv2"}

# Keys at which the instruments were sampled.
FLUID_CLEAN = [40, 45, 50, 55, 59, 64, 69, 71, 76, 79]
FLUID_JAZZ = [40, 43, 45, 48, 50, 54, 55, 59, 64, 69, 74, 79]
FLUID_BASS = [28, 30, 32, 34, 36, 39, 41, 43, 48]
FLUID_FRETLESS = [28, 30, 33, 36, 42, 46, 50]
PATS_CLEAN = [40, 45, 50, 55, 59, 64, 67, 70, 76]
PATS_JAZZ = [42, 48, 50, 53, 55, 58, 60, 63, 66, 68, 71, 73, 76]

# Instrument and style (the first three characters of a name): source, MIDI program, sampled keys, velocity, tone, shift of the
# choice of samples, peak of the loudest note as it is rendered (fixed, so that a part of the notes sounds as in the whole).
# Tone: "soft", a low pass of one pole at 3 kHz, as a finger excites fewer highs; "comb", a second pickup.
VOICES = {
    "guitar": {
        "G61": ("fluid", 27, FLUID_CLEAN, 70, "soft", 0, .1371), "G63": ("fluid", 27, FLUID_CLEAN, 112, "", 0, .3496),
        "G71": ("fluid", 26, FLUID_JAZZ, 70, "soft", 0, .0992), "G73": ("fluid", 26, FLUID_JAZZ, 112, "", 0, .2895),
        "G81": ("pats", 27, PATS_CLEAN, 70, "soft", 0, .1201), "G83": ("pats", 27, PATS_CLEAN, 112, "", 0, .2988),
        "G91": ("pats", 26, PATS_JAZZ, 70, "soft", 0, .1428), "G93": ("pats", 26, PATS_JAZZ, 112, "", 0, .2992)},
    "bass": {
        "B11": ("fluid", 33, FLUID_BASS, 70, "soft", 0, .1002), "B12": ("fluid", 33, FLUID_BASS, 118, "", 0, .2683),
        "B13": ("fluid", 34, FLUID_BASS, 108, "", 0, .2282), "B21": ("fluid", 33, FLUID_BASS, 70, "soft comb", 1, .1428),
        "B22": ("fluid", 33, FLUID_BASS, 118, "comb", 1, .3631), "B23": ("fluid", 34, FLUID_BASS, 108, "comb", 1, .3165),
        "B31": ("fluid", 35, FLUID_FRETLESS, 70, "soft", 0, .1252), "B32": ("fluid", 36, FLUID_BASS, 112, "", 0, .2500),
        "B33": ("fluid", 37, FLUID_BASS, 108, "", 0, .2339), "B41": ("pats", 33, [31, 40, 48], 70, "soft", 0, .1430),
        "B42": ("pats", 33, [31, 40, 48], 118, "", 0, .3230), "B43": ("pats", 34, [28, 43], 108, "", 0, .2822)}}
OPEN_STRINGS = {"guitar": [40, 45, 50, 55, 59, 64], "bass": [28, 33, 38, 43]}
FOLDERS = {"guitar": "Gitarre monophon", "bass": "Bass monophon"}

# Instruments that no model is trained on: MIDI program of fluid-soundfont-gm, keys. Each note's loudest sample is UNHEARD_PEAK.
UNHEARD = {"piano": (0, range(36, 85, 8)), "voice": (53, range(45, 76, 5)), "organ": (16, range(36, 85, 8))}
UNHEARD_PEAK = 0.06

GX = "http://guitarix.sourceforge.net/plugins/"
FXCHAIN = {"bass": "bass 20 181.406 0.7", "treble": "treble -20 181.406 0.7", "over": "overdrive 30 0"}
# Effect: part of the data set, folder, code in the name, its number in file ids, latency in samples, gain behind it in dB, and
# what runs: an LV2 plugin with its ports, or SoX effects (LADSPA plugins among them).
EFFECTS = {
    "dist1": (1, "Distortion", "4411", 27, 33, 0, (GX + "gx_mxrdist_#_mxrdist_", "DRIVE:0.8 VOLUME:0.5")),
    "dist2": (1, "Distortion", "4412", 28, 33, 7, (GX + "gx_bossds1_#_bossds1_", "DRIVE:0.9 TONE:0.5 LEVEL:-2")),
    "dist3": (1, "Distortion", "4413", 29, 34, 2, (GX + "gx_muff_#_muff_", "TONE:0.5 VOLUME:0.5")),
    "over1": (2, "Overdrive", "4421", 30, 0, 4, (GX + "gxts9#ts9sim", "fslider0_:-6 fslider1_:400 fslider2_:0.8")),
    "over2": (2, "Overdrive", "4422", 31, 0, 0, "ladspa tap_sigmoid tap_sigmoid 18 -6"),
    "over3": (2, "Overdrive", "4423", 32, 8, 11, "ladspa caps Saturate 1 24 0 gain -6"),
    "amp1": (1, "EQ", "1121", 1, 8, 6, "ladspa caps AmpVTS 1 0.25 0.75 0.5 1 0.25 0.75 1 0.25 0.75 0.75 gain -6"),
    "amp2": (1, "EQ", "1122", 2, 8, 11, "ladspa caps AmpVTS 1 0.55 0.75 0.7 4 0.5 0.5 0.7 0.25 0.75 0.5 gain -6"),
    "amp3": (1, "EQ", "1123", 33, 8, 10, "ladspa caps AmpVTS 1 0.9 0.5 0.9 6 0.6 0.4 0.6 0.25 0.75 0.25 gain -6"),
    "fxchain1": (1, "FxChain", "1131", 34, 0, 0, "{bass} {treble} {over}".format(**FXCHAIN)),
    "fxchain2": (1, "FxChain", "1132", 35, 0, 0, "{bass} {over} {treble}".format(**FXCHAIN)),
    "fxchain3": (1, "FxChain", "1133", 36, 0, 0, "{over} {bass} {treble}".format(**FXCHAIN))}
FRONT_DB = 15.9   # notes are quiet (peak 0.08); pedals and amplifiers get 0.5
SETTLE = 22050    # samples of silence in front, in which a circuit's bias settles


def positions(instrument):
    """String, fret and pitch of every note, in the order of the data set's lists."""
    return [(s + 1, f, pitch + f) for s, pitch in enumerate(OPEN_STRINGS[instrument]) for f in range(13)]


def drawn(*key):
    """A number in [0, 1) that follows from the key."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:4], "big") / 2 ** 32


def sampled_key(instrument, string, pitch, keys, shift):
    """The same pitch on another string takes another recording where one is near."""
    strings = sorted((s for s, o in enumerate(OPEN_STRINGS[instrument]) if 0 <= pitch - o <= 12),
                     key=lambda s: pitch - OPEN_STRINGS[instrument][s])
    near = sorted((abs(pitch - k), k) for k in keys if abs(pitch - k) <= 7) or [min((abs(pitch - k), k) for k in keys)]
    return near[(strings.index(string - 1) + shift) % len(near)][1]


def selection(instrument, n, mit):
    """n notes, evenly spread, as (voice, index of position)."""
    notes = [(v, i) for v, voice in VOICES[instrument].items() for i in range(len(positions(instrument)))
             if not (mit and voice[0] != "fluid")]
    n = min(n, len(notes))
    return [notes[(k * len(notes) + len(notes) // 2) // n] for k in range(n)]


def stem(instrument, voice, i, code="1111", number=0):
    string, fret, pitch = positions(instrument)[i]
    first = 20593 if instrument == "guitar" else 1
    if number >= 33:  # what the data set does not have gets ids outside its range
        first = (60000 if instrument == "guitar" else 80000) - 33 * 624
    at = list(VOICES[instrument]).index(voice) * len(positions(instrument)) + i
    return "%s-%02d%d%02d-%s-%05d" % (voice, pitch, string, fret, code, first + number * 624 + at)


def write_midi(events, end, path):
    """Events are (tick, bytes), 480 ticks to a beat of half a second."""
    events = sorted(events + [(end, b"\xFF\x2F\x00")], key=lambda e: e[0])
    track, last = b"", 0
    for at, data in events:
        delta, digits = at - last, b""
        while True:
            digits = bytes([delta & 127 | (0x80 if digits else 0)]) + digits
            delta >>= 7
            if not delta:
                break
        track += digits + data
        last = at
    with open(path, "wb") as file:
        file.write(b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + track)


def midi_file(instrument, voice, path):
    _, program, keys, velocity, _, shift, _ = VOICES[instrument][voice]
    events = [(0, bytes([0xC0, program])), (0, b"\xB0\x65\x00"), (0, b"\xB0\x64\x00"), (0, b"\xB0\x06\x18"),
              (0, b"\xB0\x26\x00"), (0, b"\xB0\x07\x7F"), (0, b"\xB0\x5B\x00"), (0, b"\xB0\x5D\x00")]  # bend range 24
    for i, (string, _, pitch) in enumerate(positions(instrument)):
        at, key = 3072 * (i + 1), sampled_key(instrument, string, pitch, keys, shift)
        cents = 8 * drawn(voice, i, "cents") - 4
        bend = max(0, min(16383, 8192 + int(round((pitch - key + cents / 100) * 8192 / 24))))
        strength = max(1, min(127, velocity + int(13 * drawn(voice, i, "vel")) - 6))
        events += [(at - 96, bytes([0xE0, bend & 127, bend >> 7])), (at, bytes([0x90, key, strength])),
                   (at + 1300, bytes([0x80, key, 0]))]
    write_midi(events, 3072 * (len(positions(instrument)) + 2), path)


def call(command, **more):
    r = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    if r.returncode:
        raise RuntimeError("%s failed: %s" % (command[0], r.stdout.decode(errors="replace")[-400:].strip()))


def fluidsynth(mid, wav):
    call(["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.35", "-r", str(RATE), "-F", wav, "-T", "wav", "-O", "s16",
          SOUNDFONT, mid])


def samples(wav):
    with wave.open(wav, "rb") as w:
        x = np.frombuffer(w.readframes(w.getnframes()), "<i2").astype(np.float64) / 32768
        return x.reshape(-1, w.getnchannels()).mean(axis=1)


def rendered(instrument, voice, folder):
    mid, wav = os.path.join(folder, "n.mid"), os.path.join(folder, "n.wav")
    midi_file(instrument, voice, mid)
    if VOICES[instrument][voice][0] == "fluid":
        fluidsynth(mid, wav)
    else:
        call(["timidity", "-c", PATCHES, "-Ow", "--output-16bit", "--output-mono", "-s", str(RATE), "-A", "60",
              "--preserve-silence", "--reverb=d", "--chorus=d", "--delay=d", "-a", "-o", wav, mid])
    return samples(wav)


def cut(x, voice, tone, i, pitch):
    """One note of a rendering; it begins at half a second, 10 ms more or less."""
    lead = 22050 - 440 + int(880 * drawn(voice, i, "lead"))
    begin = (i + 1) * SPACING - lead
    y = x[begin - 4096: begin + LENGTH + 64].copy()
    if "comb" in tone:
        delay = 0.13 / (440 * 2 ** ((pitch - 69) / 12)) * RATE
        k = int(delay)
        z = np.concatenate([np.zeros(k + 1), y])
        y = y - 0.6 * ((1 - (delay - k)) * z[1:1 + len(y)] + (delay - k) * z[:len(y)])
    if "soft" in tone:
        a, out, state = np.exp(-2 * np.pi * 3000 / RATE), np.empty_like(y), 0.0
        for n, v in enumerate(y):
            state = (1 - a) * v + a * state
            out[n] = state
        y = out
    y = y[4096:4096 + LENGTH]
    y[-(RATE // 200):] *= np.linspace(1, 0, RATE // 200)
    return y


def write(path, y):
    q = np.clip(np.round(y * 32768), -32768, 32767).astype("<i2")
    with wave.open(path + ".part", "wb") as w:
        w.setnchannels(1), w.setsampwidth(2), w.setframerate(RATE)
        w.writeframes(q.tobytes())
    os.replace(path + ".part", path)


def make_dry(instrument, voice, places, folder):
    todo = [i for i in places if not os.path.exists(os.path.join(folder, stem(instrument, voice, i) + ".wav"))]
    if not todo:
        return 0
    _, _, _, _, tone, _, peak = VOICES[instrument][voice]
    with tempfile.TemporaryDirectory() as t:
        x = rendered(instrument, voice, t)
    goal = 0.04 if "soft" in tone else 0.08  # the data set's notes are as quiet
    for i in todo:
        y = cut(x, voice, tone, i, positions(instrument)[i][2])
        write(os.path.join(folder, stem(instrument, voice, i) + ".wav"), y * (goal / peak))
    return len(todo)


def make_unheard(name, folder):
    """The dry notes of one instrument of UNHEARD."""
    program, keys = UNHEARD[name]
    paths = {k: os.path.join(folder, "%s-%02d.wav" % (name, k)) for k in keys}
    todo = [k for k in keys if not os.path.exists(paths[k])]
    if not todo:
        return 0
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as t:
        mid, wav = os.path.join(t, "n.mid"), os.path.join(t, "n.wav")
        events = [(0, bytes([0xC0, program])), (0, b"\xB0\x07\x7F"), (0, b"\xB0\x5B\x00"), (0, b"\xB0\x5D\x00")]
        for i, k in enumerate(keys):
            events += [(3072 * (i + 1), bytes([0x90, k, 96])), (3072 * (i + 1) + 1300, bytes([0x80, k, 0]))]
        write_midi(events, 3072 * (len(keys) + 2), mid)
        fluidsynth(mid, wav)
        x = samples(wav)
    for i, k in enumerate(keys):
        if k in todo:
            y = cut(x, name, "", i, k)
            write(paths[k], y * (UNHEARD_PEAK / np.abs(y).max()))
    return len(todo)


def play(what, dry, wet, front_db=0, latency=0, gain_db=0):
    """A file of any length through a plugin with its ports, or through SoX effects: latency removed, length kept."""
    env = dict(os.environ, LADSPA_PATH="/usr/lib/ladspa:/usr/lib/x86_64-linux-gnu/ladspa")
    sox = ["sox", "-V1", "-D"]
    with wave.open(dry, "rb") as file:
        length = file.getnframes()
    with tempfile.TemporaryDirectory() as t:
        a, b, c = (os.path.join(t, n + ".wav") for n in "abc")
        call(sox + [dry, "-b", "32", "-e", "float", a, "gain", str(front_db), "pad", "%ds" % SETTLE, "4096s"])
        if isinstance(what, tuple):
            ports = [p for port in what[1].split() for p in ("-p", port)]
            call(["lv2file", "-i", a, "-o", b, "-m", "--ignore-clipping", "-b", "512"] + ports + [what[0]])
        else:
            call(sox + [a, "-b", "32", "-e", "float", b] + what.split(), env=env)
        call(sox + [b, "-b", "16", c, "gain", str(gain_db), "trim", "%ds" % (SETTLE + latency), "%ds" % length])
        shutil.copyfile(c, wet + ".part")
    os.replace(wet + ".part", wet)


def make_wet(effect, dry, wet):
    """One file through one effect."""
    if os.path.exists(wet):
        return 0
    _, _, _, _, latency, gain, what = EFFECTS[effect]
    play(what, dry, wet, 0 if effect.startswith("fxchain") else FRONT_DB, latency, gain)
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--notes", type=int, default=40, help="notes of each instrument, evenly spread over its 624")
    parser.add_argument("--instrument", choices=["guitar", "bass", "both", "unheard"], default="both")
    parser.add_argument("--effects", default=",".join(EFFECTS), help="with commas between; all by default")
    parser.add_argument("--mit", action="store_true", help="only notes whose samples are under the MIT licence")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true", help="list the effects")
    args = parser.parse_args()
    if args.list:
        for name, (_, folder, code, _, _, _, what) in EFFECTS.items():
            print("%-9s %s %s: %s" % (name, folder, code[-1], what if isinstance(what, str) else " ".join(what)))
        return 0
    chosen = args.effects.split(",")
    wrong = [e for e in chosen if e not in EFFECTS]
    if not args.folder or wrong:
        print("make_notes.py: %s" % ("no effect %s; --list names them" % wrong[0] if wrong else "give the folder to make"),
              file=sys.stderr)
        return 2
    missing = {p for name, p in PROGRAMS.items() if not shutil.which(name)}
    missing |= {p for name, p in FILES.items() if not os.path.exists(name)}
    if missing:
        print("make_notes.py: needs packages; apt-get install " + " ".join(sorted(missing)), file=sys.stderr)
        return 2
    with concurrent.futures.ProcessPoolExecutor(max(1, args.jobs)) as pool:
        if args.instrument in ("both", "unheard"):
            made = [pool.submit(make_unheard, n, os.path.join(args.folder, "Unheard", n)) for n in UNHEARD]
            print("never heard, dry: %d new" % sum(m.result() for m in made), flush=True)
        for instrument in {"both": ["guitar", "bass"], "unheard": []}.get(args.instrument, [args.instrument]):
            base = os.path.join(args.folder, FOLDERS[instrument])
            dry = os.path.join(base, "Samples", "NoFX")
            os.makedirs(dry, exist_ok=True)
            notes = selection(instrument, args.notes, args.mit)
            made = [pool.submit(make_dry, instrument, v, [i for w, i in notes if w == v], dry)
                    for v in dict.fromkeys(v for v, _ in notes)]
            print("%s, dry: %d new of %d" % (instrument, sum(m.result() for m in made), len(notes)), flush=True)
            for effect in chosen:
                part, folder, code, number = EFFECTS[effect][:4]
                wet = os.path.join(base + ("2" if part == 2 else ""), "Samples", folder)
                os.makedirs(wet, exist_ok=True)
                made = [pool.submit(make_wet, effect, os.path.join(dry, stem(instrument, v, i) + ".wav"),
                                    os.path.join(wet, stem(instrument, v, i, code, number) + ".wav")) for v, i in notes]
                print("%s, %s: %d new of %d" % (instrument, effect, sum(m.result() for m in made), len(notes)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
