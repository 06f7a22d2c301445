"""What the tests of the plugin in hosts on JACK share: a server without a sound card, models, presets, and what `cafx render`
makes of a signal."""
import ctypes
import os
import shutil
import subprocess
import sys
import time


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


try:
    import numpy as np
except ImportError:
    skip("numpy is not installed (python3-numpy)")

binary, root, bundle = sys.argv[1:4]
for folder in ("python", "tests/python"):
    sys.path.insert(0, os.path.join(root, folder))
import cafx  # noqa: E402
from models import PAPER, SMALL, random_model, read_wav, write_wav  # noqa: E402

RATE, HOP, FRAME = 16000, 64, 256
LATENCY = FRAME - 1
failures = 0


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            skip(f"no {tool} (jackd2, jalv, ardour)")


def check(ok, what):
    global failures
    failures += not ok
    if not ok:
        print("FAILED:", what)


def finish():
    if not failures:
        print("all as expected")
    sys.exit(1 if failures else 0)


Process = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)


class Jack:
    """A server of its own, and two of its clients: one that plays a signal once it is asked to, one that keeps what comes from
    the same sample on."""

    def __init__(self, work, block, freewheel):
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
        self.x, self.y, self.start, self.at = np.zeros(0, "<f4"), np.zeros(0, "<f4"), None, 0
        self.player = self.client(b"player", 2, self.play)
        self.keeper = self.client(b"keeper", 1, self.hear)
        lib.jack_set_freewheel(self.player, int(freewheel))

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
            text = self.log.read()[-300:]
            self.close()
            skip(f"no JACK server could be started: {text}")
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


class Models:
    """Two models with weights of their own, presets that name them, and LV2_PATH with these and the plugin."""

    def __init__(self, work):
        self.work, self.files, self.known = work, {}, {}
        for name, seed in (("a", 3), ("b", 4)):
            m = random_model({**PAPER, **SMALL, "frame": FRAME, "hop": HOP, "pool": 8}, seed)
            self.files[name] = f"{work}/{name}.safetensors"
            cafx.save(self.files[name], m.config, m.tensors)
        shutil.copytree(bundle, f"{work}/lv2/cafx.lv2")
        os.makedirs(f"{work}/lv2/models.lv2")
        with open(f"{work}/lv2/models.lv2/manifest.ttl", "w") as f:
            f.write(PREFIXES + "".join(f"<urn:cafx:{n}> a pset:Preset ; lv2:appliesTo <urn:cafx:player> ; rdfs:seeAlso <{n}.ttl> .\n"
                                       for n in self.files))
        for name in self.files:
            with open(f"{work}/lv2/models.lv2/{name}.ttl", "w") as f:
                f.write(self.state(name, f"urn:cafx:{name}"))
        os.environ["LV2_PATH"] = f"{work}/lv2:/usr/lib/lv2"

    def state(self, name, subject):
        return (PREFIXES + f"<{subject}> a pset:Preset ; lv2:appliesTo <urn:cafx:player> ; rdfs:label \"{name}\" ;\n"
                f"  state:state [ <urn:cafx:player#model> <{self.files[name]}> ] .\n")

    def rendered(self, name, x, ahead):
        """By `cafx render`, with silence before it long enough to be all that a frame holds, and `ahead` samples into a hop."""
        if (name, ahead) not in self.known:
            before = 4 * FRAME + ahead
            write_wav(f"{self.work}/in.wav", np.concatenate([np.zeros(before, "<f4"), x]))
            subprocess.run([binary, "render", self.files[name], f"{self.work}/in.wav", f"{self.work}/out.wav", "--hop", str(HOP),
                            "--quiet"], check=True)
            self.known[name, ahead] = read_wav(f"{self.work}/out.wav").astype("<f4")[before:]
        return self.known[name, ahead]

    def plays(self, name, x, y, block):
        """Whether y, without the plugin's latency, is what `cafx render` writes: from one of the places in a hop where a
        block may begin."""
        return any(np.array_equal(y, self.rendered(name, x, d)) for d in range(0, HOP, int(np.gcd(block, HOP))))


def signal():
    """Sine, silence, denormal numbers, noise, sine."""
    n = 1024
    sine = (0.3 * np.sin(2 * np.pi * 440 * np.arange(n) / RATE)).astype("<f4")
    noise = (0.1 * np.random.default_rng(1).standard_normal(n)).astype("<f4")
    return np.concatenate([sine, np.zeros(n, "<f4"), np.full(n, 1e-40, "<f4"), noise, -sine])


PREFIXES = """@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix pset: <http://lv2plug.in/ns/ext/presets#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix state: <http://lv2plug.in/ns/ext/state#> .
"""
