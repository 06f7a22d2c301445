"""jalv.py CAFX PROJECT BUNDLE: the plugin in jalv, a host on JACK, whose server runs without a sound card and without a clock.

For each block size of the server: what a sine, silence, denormal numbers and noise become is what `cafx render` writes, to the
bit; then the model is changed while it plays, by a preset, and what is heard is the other model's. Exit code 77: skipped.
"""
import os
import subprocess
import tempfile
import time

from jack import LATENCY, Jack, Models, check, finish, need, signal

need("jackd", "jalv")


def heard(models, jack, name, x, block):
    """Whether x comes back as that model plays it; the plugin loads a model in a thread of its own, so it may take a while."""
    end = time.time() + 30
    while time.time() < end:
        if models.plays(name, x, jack.through(x, LATENCY)[LATENCY:], block):
            return True
    return False


with tempfile.TemporaryDirectory() as work:
    models, x = Models(work), signal()
    os.makedirs(f"{work}/session")
    with open(f"{work}/session/state.ttl", "w") as f:
        f.write(models.state("a", ""))
    for block in (1, 16, 100, 4096):
        jack, jalv = Jack(work, block, freewheel=True), None
        try:
            with open(f"{work}/jalv.log", "w+") as log:
                jalv = subprocess.Popen(["jalv", "-n", "jalv", "-l", f"{work}/session", "urn:cafx:player"], stdin=subprocess.PIPE,
                                        stdout=log, stderr=subprocess.STDOUT, text=True)
                jack.connect(b"player:port", b"jalv:in")
                jack.connect(b"jalv:out", b"keeper:port")
                check(heard(models, jack, "a", x, block), f"blocks of {block}: not the bits of cafx render")
                jalv.stdin.write("presets\npreset urn:cafx:b\n")
                jalv.stdin.flush()
                check(heard(models, jack, "b", x, block), f"blocks of {block}: after the change not the other model's bits")
                log.seek(0)
                text = log.read()
                check("rror" not in text, f"jalv complains: {text}")
        finally:
            jack.lib.jack_set_freewheel(jack.player, 0)  # or the server waits for jalv when it leaves
            if jalv:
                jalv.terminate()
                jalv.wait(20)
            jack.close()
finish()
