"""status_pty.py CAFX PROJECT: `cafx sweep status` on a terminal, on a resized one, and piped, while a sweep runs."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

try:
    for end in pty.openpty():
        os.close(end)
except OSError as error:
    print(f"skipped: this machine gives no terminal ({error})")
    sys.exit(77)

cafx, root = sys.argv[1:3]
work = tempfile.mkdtemp()
failures = 0


def check(ok, what):
    global failures
    if not ok:
        print("FAILED:", what)
        failures += 1


class View:
    """The status on a terminal of its own; `frames` are the screens it has drawn so far."""

    def __init__(self, rows, columns):
        self.master, slave = pty.openpty()
        self.text = ""
        self.resize(rows, columns)
        self.process = subprocess.Popen([cafx, "sweep", "status", "s", "--store", f"{work}/runs"], stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True)
        os.close(slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        end = time.time() + seconds
        while time.time() < end:
            if not select.select([self.master], [], [], 0.1)[0]:
                continue
            try:
                self.text += os.read(self.master, 65536).decode()
            except OSError:  # the other end is closed
                return

    def frames(self):
        drawn = self.text.split("\x1b[H")[1:]
        return [[line.replace("\r", "") for line in re.sub(r"\x1b\[[0-9]*[JKm]", "", d).split("\n")] for d in drawn if "\x1b[J" in d]


def running(frame):
    """percent, stage, frames/s, best, left of the runs under way."""
    return [m.groups() for m in (re.match(r"\S+ +running +(\d+) (?:pretrain|train|refine) (\d+/\d+) +(\d+) +(\S*) +(\d+ (?:s|min)|[\d.]+ h) ", line + " ")
                                 for line in frame) if m]


with open(f"{work}/s.toml", "w") as f:
    f.write(f"""name = "s"
[data]
path = "{root}/datasets/notes"
effect = "Distortion"
setting = 2
test_notes = ["G61-55400", "G71-55400"]
{open(f"{root}/tests/cli/tiny_model.toml").read()}[train]
hop = 256
pretrain_epochs = 2
epochs = 300
refine_epochs = 0
patience = 1000
[axes]
train.lr = [1e-3, 3e-3]
train.seed = {{range = [1, 12, 1]}}
[pretrain]
train.seed = 1
""")
sweep = subprocess.Popen([cafx, "sweep", "run", f"{work}/s.toml", "--store", f"{work}/runs", "--quiet", "--no-measure", "--slots", "2",
                          "--device", "cpu"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
view = None
try:
    for _ in range(300):
        if os.path.exists(f"{work}/runs/s.sweep/tasks.jsonl"):
            break
        time.sleep(0.1)
    view = View(20, 100)
    for _ in range(60):  # until a run of it trains and has something to show
        view.read(1)
        seen = [r for frame in view.frames() for r in running(frame)]
        if len(view.frames()) >= 4 and len({r[1] for r in seen}) >= 3 and any(r[3] for r in seen):
            break
    frames = view.frames()
    check(len(frames) >= 4, f"only {len(frames)} screens were drawn: {view.text[-2000:]!r}")
    seen = [r for frame in frames for r in running(frame)]
    check(any(int(r[0]) > 0 for r in seen), f"progress: {frames[-1]}")
    check(len({r[1] for r in seen}) >= 3, f"the epoch moves on: {sorted({r[1] for r in seen})}")
    check(any(int(r[2]) > 0 for r in seen), f"speed: {frames[-1]}")
    check(any(re.fullmatch(r"0\.\d+", r[3]) for r in seen), f"best: {frames[-1]}")
    check(re.match(r"sweep s: 25 tasks, .*; .* of work left", frames[-1][0]), f"the head: {frames[-1][0]}")
    check(max(len(line) for frame in frames for line in frame) == 100, "some line is as long as the terminal is wide, none longer: "
          f"{max(len(line) for frame in frames for line in frame)}")
    check(all(len(frame) <= 20 for frame in frames) and len(frames[-1]) >= 19, f"the table fills the terminal: {[len(f) for f in frames]}")
    check(any("... and" in line for line in frames[-1]), "what does not fit is counted")
    check("\x1b[2J" not in view.text, "the screen is cleared before it is drawn, which flickers")

    n = len(frames)
    view.resize(12, 64)
    view.read(3)
    small = view.frames()[n + 1:]
    check(small and all(len(f) <= 12 and max(map(len, f)) <= 64 for f in small), f"a smaller terminal: {small[-1:]}")
    check(any(len(f) >= 11 for f in small), f"a smaller terminal is filled: {[len(f) for f in small]}")

    os.kill(view.process.pid, signal.SIGINT)
    view.read(2)
    check(view.process.wait(10) == 0, f"Ctrl-C ends the view with {view.process.returncode}")
    check(sweep.poll() is None, "Ctrl-C on the view ended the sweep")

    command = [cafx, "sweep", "status", "s", "--store", f"{work}/runs"]
    piped = subprocess.run(command, capture_output=True, text=True, timeout=30)
    check(piped.returncode == 0 and "\x1b" not in piped.stdout and "\r" not in piped.stdout and piped.stderr == "", "piped: plain text, once")
    check(re.match(r"sweep s: 25 tasks, .*of work left by the plan, about .* at this rate\n", piped.stdout), f"piped, the head: {piped.stdout[:300]}")
    check(len(piped.stdout.splitlines()) == 2 + 25 + any("best " in x[:5] for x in piped.stdout.splitlines()), f"piped: every run: {piped.stdout}")
    parsed = json.loads(subprocess.run(command + ["--json"], capture_output=True, text=True, timeout=30, check=True).stdout)
    check(len(parsed["runs"]) == 25, "JSON: every run")

    # It ends by itself when the sweep does; a stopped one has runs that wait, so only Ctrl-C ends that view.
    subprocess.run([cafx, "sweep", "stop", "s", "--store", f"{work}/runs"], check=True, stdout=subprocess.DEVNULL)
    check(sweep.wait(60) == 130, f"the stopped sweep ends with {sweep.returncode}")
    view = View(20, 120)
    view.read(2)
    check(view.frames() and not running(view.frames()[-1]), "a stopped sweep has no runs under way")
    os.kill(view.process.pid, signal.SIGINT)
    view.read(2)
    check(view.process.wait(10) == 0, "Ctrl-C ends the view of a stopped sweep")
finally:
    for process in [sweep] + ([view.process] if view else []):
        if process.poll() is None:
            process.terminate()
            process.wait(60)
    time.sleep(0.2)
    shutil.rmtree(work, ignore_errors=True)
print(f"{len(frames)} screens; the last of the large ones:\n" + "\n".join(frames[-1]))
sys.exit(1 if failures else 0)
