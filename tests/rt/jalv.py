"""jalv.py CAFX PROJECT BUNDLE: the plugin in jalv, a host on JACK, whose server runs without a sound card and without a clock.

For each block size of the server: what a sine, silence, denormal numbers and noise become is what `cafx render` writes, to the
bit; then the model is changed while it plays, by a preset, and what is heard is the other model's. Exit code 77: skipped.
"""
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time

for tool in ("jackd", "jalv"):
    if not shutil.which(tool):
        print(f"skipped: no {tool} (jackd2, jalv)")
        sys.exit(77)
try:
    import numpy as np
except ImportError:
    print("skipped: numpy is not installed (python3-numpy)")
    sys.exit(77)

binary, root, bundle = sys.argv[1:4]
for folder in ("python", "tests/python"):
    sys.path.insert(0, os.path.join(root, folder))
import cafx  # noqa: E402
from models import PAPER, SMALL, random_model, read_wav, write_wav  # noqa: E402

RATE, HOP, FRAME = 16000, 64, 256
failures = 0


def check(ok, what):
    global failures
    failures += not ok
    if not ok:
        print("FAILED:", what)


Process = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)


class Jack:
    """A server of its own, and two of its clients: one that plays a signal once it is asked to, one that keeps what comes from
    the same sample on."""

    def __init__(self, block):
        self.name = f"cafx{os.getpid()}"
        os.environ["JACK_DEFAULT_SERVER"] = self.name
        os.environ["JACK_NO_AUDIO_RESERVATION"] = "1"
        self.log = open(f"{work}/jackd.log", "w+")
        self.server = subprocess.Popen(["jackd", "-r", "-S", "-n", self.name, "-d", "dummy", "-r", str(RATE), "-p", str(block)],
                                       stdout=self.log, stderr=subprocess.STDOUT)
        self.lib = lib = ctypes.CDLL("libjack.so.0")
        lib.jack_client_open.restype = lib.jack_port_register.restype = lib.jack_port_get_buffer.restype = ctypes.c_void_p
        lib.jack_last_frame_time.restype = ctypes.c_uint32
        silent = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda text: None)
        lib.jack_set_error_function(silent)
        lib.jack_set_info_function(silent)
        self.keep = [silent]
        self.x, self.y, self.start, self.seen, self.at = np.zeros(0, "<f4"), np.zeros(0, "<f4"), None, 0, 0
        self.player = self.client(b"player", 2, self.play)
        self.keeper = self.client(b"keeper", 1, self.hear)
        lib.jack_set_freewheel(self.player, 1)

    def client(self, name, direction, callback):
        for _ in range(100):  # until the server is there; 1: start none
            client = self.lib.jack_client_open(name, 1, None)
            if client:
                break
            if self.server.poll() is not None:
                break
            time.sleep(0.05)
        else:
            client = None
        if not client:
            self.log.seek(0)
            print(f"skipped: no JACK server could be started: {self.log.read()[-300:]}")
            self.close()
            sys.exit(77)
        client = ctypes.c_void_p(client)
        port = ctypes.c_void_p(self.lib.jack_port_register(client, b"port", b"32 bit float mono audio", direction, 0))
        function = Process(lambda n, _: callback(client, port, n))
        self.keep.append(function)
        self.lib.jack_set_process_callback(client, function, None)
        self.lib.jack_activate(client)
        return client

    def buffer(self, port, n):
        return np.ctypeslib.as_array(ctypes.cast(self.lib.jack_port_get_buffer(port, n), ctypes.POINTER(ctypes.c_float)), (n,))

    def play(self, client, port, n):
        out, now = self.buffer(port, n), self.lib.jack_last_frame_time(client)
        if self.start is None and len(self.x):
            self.start = now
        at = (now - self.start) & 0xffffffff if self.start is not None else 0
        part = self.x[at:at + n]
        out[:len(part)], out[len(part):] = part, 0
        return 0

    def hear(self, client, port, n):
        now = self.lib.jack_last_frame_time(client)
        self.seen += n
        if self.start is not None:
            at = (now - self.start) & 0xffffffff
            part = self.y[at:at + n]
            part[:] = self.buffer(port, n)[:len(part)]
            self.at = at + n
        return 0

    def through(self, x, more):
        """What is heard from the first sample of x on, `more` samples longer."""
        self.y, self.at, self.start = np.full(len(x) + more, np.nan, "<f4"), 0, None
        self.x = np.asarray(x, "<f4")
        end = time.time() + 60
        while self.at < len(self.y) and time.time() < end:
            time.sleep(0.01)
        y, self.x, self.start = self.y, np.zeros(0, "<f4"), None
        return y

    def connect(self, source, destination):
        for _ in range(200):
            if self.lib.jack_connect(self.player, source, destination) in (0, 17):  # EEXIST
                return
            time.sleep(0.05)
        raise RuntimeError(f"cannot connect {source} to {destination}")

    def close(self):
        for client in ("player", "keeper"):
            if getattr(self, client, None):
                self.lib.jack_client_close(getattr(self, client))
        self.server.terminate()
        self.server.wait(20)


def rendered(model, x):
    """By `cafx render`, with silence before it long enough to be all that a frame holds."""
    before = 4 * FRAME
    write_wav(f"{work}/in.wav", np.concatenate([np.zeros(before, "<f4"), x]))
    subprocess.run([binary, "render", model, f"{work}/in.wav", f"{work}/out.wav", "--hop", str(HOP), "--quiet"], check=True)
    return read_wav(f"{work}/out.wav").astype("<f4")[before:]


def state(model, subject):
    return (f"<{subject}> a pset:Preset ; lv2:appliesTo <urn:cafx:player> ; rdfs:label \"{subject}\" ;\n"
            f"  state:state [ <urn:cafx:player#model> <{model}> ] .\n")


PREFIXES = """@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix pset: <http://lv2plug.in/ns/ext/presets#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix state: <http://lv2plug.in/ns/ext/state#> .
"""

work = tempfile.mkdtemp()
try:
    models = {}
    for name, seed in (("a", 3), ("b", 4)):
        m = random_model({**PAPER, **SMALL, "frame": FRAME, "hop": HOP, "pool": 8}, seed)
        models[name] = f"{work}/{name}.safetensors"
        cafx.save(models[name], m.config, m.tensors)
    lv2 = f"{work}/lv2"
    shutil.copytree(bundle, f"{lv2}/cafx.lv2")
    os.makedirs(f"{lv2}/models.lv2")
    with open(f"{lv2}/models.lv2/manifest.ttl", "w") as f:
        f.write(PREFIXES + "".join(f"<urn:cafx:{n}> a pset:Preset ; lv2:appliesTo <urn:cafx:player> ; rdfs:seeAlso <{n}.ttl> .\n"
                                   for n in models))
    for name, model in models.items():
        with open(f"{lv2}/models.lv2/{name}.ttl", "w") as f:
            f.write(PREFIXES + state(model, f"urn:cafx:{name}"))
    os.makedirs(f"{work}/session")
    with open(f"{work}/session/state.ttl", "w") as f:
        f.write(PREFIXES + state(models["a"], ""))
    os.environ["LV2_PATH"] = f"{lv2}:/usr/lib/lv2"

    n = 1024
    sine = (0.3 * np.sin(2 * np.pi * 440 * np.arange(n) / RATE)).astype("<f4")
    noise = (0.1 * np.random.default_rng(1).standard_normal(n)).astype("<f4")
    x = np.concatenate([sine, np.zeros(n, "<f4"), np.full(n, 1e-40, "<f4"), noise, -sine])
    latency = FRAME - 1
    expected = {name: {} for name in models}  # by how far into a hop the signal begins
    for block in (1, 16, 100, 1024, 4096):
        jack = Jack(block)
        jalv = None
        try:
            with open(f"{work}/jalv.log", "w+") as log:
                jalv = subprocess.Popen(["jalv", "-n", "jalv", "-l", f"{work}/session", "urn:cafx:player"], stdin=subprocess.PIPE,
                                        stdout=log, stderr=subprocess.STDOUT, text=True)
                jack.connect(b"player:port", b"jalv:in")
                jack.connect(b"jalv:out", b"keeper:port")
                for name in models:
                    if name == "b":
                        jalv.stdin.write("presets\npreset urn:cafx:b\n")
                        jalv.stdin.flush()
                    end, found = time.time() + 30, False
                    while not found and time.time() < end:
                        y = jack.through(x, latency)[latency:]
                        for d in range(0, HOP, int(np.gcd(block, HOP))):
                            if d not in expected[name]:
                                expected[name][d] = rendered(models[name], np.concatenate([np.zeros(d, "<f4"), x]))[d:]
                            found = found or np.array_equal(y, expected[name][d])
                        if name == "a":
                            break  # it is there before the first block; a change takes its time
                    check(found, f"blocks of {block}, model {name}: not the bits of cafx render; largest difference "
                          f"{np.abs(y - expected[name][0]).max():.1e} of {np.abs(expected[name][0]).max():.2f}")
                log.seek(0)
                text = log.read()
                check("rror" not in text, f"jalv complains: {text}")
        finally:
            jack.lib.jack_set_freewheel(jack.player, 0)  # or the server waits for those who left
            if jalv:
                jalv.terminate()
                jalv.wait(20)
            jack.close()
finally:
    shutil.rmtree(work, ignore_errors=True)
if not failures:
    print("all as expected")
sys.exit(1 if failures else 0)
