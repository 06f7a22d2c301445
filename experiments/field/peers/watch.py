"""What a peer's training and field.py share: a clock, marks at which weights are kept, and an end."""
import json
import os
import struct
import time
import wave

import numpy as np
import torch


class Watch:
    """Counts from the first step on: loading Python and its packages is not counted. `marks` are shares of the budget."""

    def __init__(self, spec):
        self.spec, self.marks, self.steps, self.begun = spec, list(spec["marks"]), 0, None
        torch.set_num_threads(spec["threads"])

    def begin(self):
        self.begun = (time.process_time(), time.monotonic())

    def spent(self):
        """Processor seconds over threads, or seconds on the wall; and both."""
        cpu, wall = time.process_time() - self.begun[0], time.monotonic() - self.begun[1]
        return (cpu / self.spec["threads"] if self.spec["clock"] == "cpu" else wall), cpu, wall

    def step(self, weights):
        """After each step: keeps what `weights` gives where a mark has passed. Says whether the budget is spent."""
        self.steps += 1
        spent, cpu, wall = self.spent()
        passed = [m for m in self.marks if spent >= m * self.spec["budget"]]
        if passed:
            self.marks = self.marks[len(passed):]
            name = os.path.join(self.spec["out"], "weights-%05d.pt" % self.steps)
            torch.save(weights(), name + ".part")
            os.replace(name + ".part", name)
            mark = {"spent": spent, "cpu": cpu, "wall": wall, "steps": self.steps, "weights": os.path.basename(name)}
            with open(os.path.join(self.spec["out"], "marks.jsonl"), "a") as file:
                file.write(json.dumps(mark) + "\n")
        return spent >= self.spec["budget"]


def read(path):
    with wave.open(path, "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def write(path, y, rate):
    body = np.asarray(y, "<f4").tobytes()
    head = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(body), b"WAVEfmt ", 16, 3, 1, rate, 4 * rate, 4, 32, b"data", len(body))
    with open(path, "wb") as file:
        file.write(head + body)


def rendered(spec, player):
    """Plays what the spec asks for; player(weights) gives samples -> samples. A line for each: processor seconds, seconds of audio."""
    torch.set_num_threads(spec["threads"])
    for item in spec["plays"]:
        play, cpu, audio = player(torch.load(item["weights"], map_location="cpu", weights_only=False)), 0.0, 0.0
        for source, target in item["files"]:
            x = read(source)
            before = time.process_time()
            with torch.no_grad():
                y = play(torch.from_numpy(x.copy())).reshape(-1).numpy()
            cpu, audio = cpu + time.process_time() - before, audio + len(x) / spec["rate"]
            if y.shape != x.shape:
                raise RuntimeError("%s: %d samples in, %d out" % (source, len(x), len(y)))
            write(target, y, spec["rate"])
        print(json.dumps({"cpu": cpu, "audio": audio}), flush=True)
