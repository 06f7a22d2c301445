"""Models from Python: the bits of `cafx render`, streams, rates, threads, the NumPy and PyTorch forms."""
import copy
import gc
import pickle
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest

import cafx
from cafx import _program
from conftest import RATE, notes


def rendered(run, x, rate, tmp_path, *words):
    cafx.write(tmp_path / "in.wav", x, rate)
    subprocess.run([_program.path(), "render", run.folder, tmp_path / "in.wav", tmp_path / "out.wav", "--quiet", *words], check=True,
                   stdout=subprocess.DEVNULL)
    return cafx.read(tmp_path / "out.wav")[0]


def test_a_call_has_the_bits_of_cafx_render(run, tmp_path):
    x = notes(1.3, seed=5)[:-77]
    np.testing.assert_array_equal(run.model(x, RATE), rendered(run, x, RATE, tmp_path))
    np.testing.assert_array_equal(run.model(x, RATE, hop=32), rendered(run, x, RATE, tmp_path, "--hop", "32"))


def test_other_rates_and_channels(run, tmp_path):
    x = notes(1.0, seed=6)
    np.testing.assert_allclose(run.model(x, 44100), rendered(run, x, 44100, tmp_path), atol=2e-4)
    both = np.stack([x, -0.5 * x], axis=1)
    y = run.model(both)
    assert y.shape == both.shape
    np.testing.assert_array_equal(y[:, 0], run.model(x))


def test_a_stream_is_the_call_later(run):
    model, x = run.model, notes(1.0, seed=7)
    stream = model.stream()
    cuts = np.cumsum(np.random.default_rng(1).integers(1, 900, 40))
    out = np.concatenate([stream(block) for block in np.split(np.concatenate([x, np.zeros(stream.latency, np.float32)]), cuts)])
    np.testing.assert_array_equal(out[stream.latency:], model(x))
    assert not out[:stream.latency].any()
    # From the beginning again, and another one beside it.
    twin = stream.twin()
    stream.reset()
    np.testing.assert_array_equal(stream(x), twin(x))


def test_a_stream_copies_nothing(run):
    stream, x = run.model.stream(48000), notes(0.5)
    y = x.copy()
    assert stream(y, out=y) is y
    other = run.model.stream(48000)
    np.testing.assert_array_equal(other(x), y)
    for bad in (np.empty(3, np.float32), np.empty(len(x)), np.empty(2 * len(x), np.float32)[::2]):
        with pytest.raises(cafx.CafxError, match="expected out as float32"):
            stream(x, out=bad)
    block = run.model.stream(block=64)
    assert block.latency < run.model.stream().latency
    with pytest.raises(cafx.CafxError, match="no multiple"):
        block(x[:65])


def test_other_python_goes_on_during_a_call(run):
    """The lock of Python is given back: this thread counts while another one renders."""
    model, x = run.model, np.tile(notes(4.0), 40)
    worker = threading.Thread(target=model, args=(x, RATE), kwargs={"hop": 4})
    worker.start()
    longest, last, ticks = 0.0, time.monotonic(), 0
    while worker.is_alive():
        time.sleep(0.005)
        now = time.monotonic()
        longest, last, ticks = max(longest, now - last), now, ticks + 1
    assert ticks >= 5, "the rendering took no time; nothing was shown"
    assert longest < 0.5 * ticks * 0.005 + 1.0


def test_what_cannot_be_played(run, tmp_path):
    model, x = run.model, notes(0.5)
    for call, words in [(lambda: model(x, 100), "4000 to 768000"), (lambda: model(x, hop=10**6), "hop"),
                        (lambda: model(x.astype(complex)), "numbers"), (lambda: model(np.array([0, np.nan], np.float32)), "nan at 0.000 s"),
                        (lambda: model(np.full(2000, 1e38, np.float32)), "output is not finite at .* turn the input down"),
                        (lambda: model(x, knobs=[("gain", 5)]), "knobs as a dict, such as .*, found list"),
                        (lambda: model.stream(knobs="gain=5"), "knobs as a dict, such as .*, found str"),
                        (lambda: cafx.train(x, x, RATE, settings=["train.epochs=1"]), "settings: expected a dict"),
                        (lambda: cafx.load(tmp_path / "none.safetensors"), "none.safetensors"),
                        (lambda: model.stream(7), "4000 to 768000"),
                        (lambda: model(x, float("nan")), "whole Hz"), (lambda: model(x, float("inf")), "whole Hz"),
                        (lambda: model(x, hop=2**40), "hop in whole samples"), (lambda: model(x, hop=1.5), "hop in whole samples"),
                        (lambda: model.stream(block=0.5), "block in whole samples"), (lambda: model(np.stack([x, x])), "model\\(x.T\\)"),
                        (lambda: model(np.zeros((9, 0))), "0 channels"), (lambda: model.stream()(x, out=[0.0] * len(x)), "found list"),
                        (lambda: cafx.load(run.folder, threads=-1), "0 to 1024 threads"),
                        (lambda: cafx.read(tmp_path, -1), "4000 to 768000"), (lambda: cafx.read(tmp_path, 0), "4000 to 768000"),
                        (lambda: run.sounds(np.int16(x), rate=RATE), "full scale 1"),
                        (lambda: cafx.read(tmp_path), str(tmp_path))]:
        with pytest.raises(cafx.CafxError, match=words):
            call()
    (tmp_path / "cut.safetensors").write_bytes((run.folder / "best.safetensors").read_bytes()[:-9])
    with pytest.raises(cafx.CafxError, match="cut.safetensors"):
        cafx.load(tmp_path / "cut.safetensors")
    assert len(model(np.zeros(0, np.float32))) == 0


def test_copies_of_a_model(run):
    """A handle of the engine is of one object in one process: a copy opens the file anew, and lives by itself."""
    model, x = cafx.load(run.folder), notes(0.5)
    expected = model(x)
    code = "import pickle, sys; sys.path[:0] = sys.argv[1:]; m, x = pickle.load(sys.stdin.buffer); sys.stdout.buffer.write(m(x).tobytes())"
    there = subprocess.run([sys.executable, "-c", code, *sys.path], input=pickle.dumps((model, x)), capture_output=True, cwd="/", check=True)
    np.testing.assert_array_equal(np.frombuffer(there.stdout, np.float32), expected)
    twin = copy.deepcopy(model)
    del model
    gc.collect()
    np.testing.assert_array_equal(twin(x), expected)
    stream = twin.stream()
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="twin"):
            make(stream)


def test_a_model_in_a_forked_child(run):
    """As multiprocessing starts children on Linux; they have none of the engine's threads."""
    code = """if 1:
        import os, sys
        sys.path[:0] = sys.argv[2:]
        import cafx
        from conftest import notes
        model, x = cafx.load(sys.argv[1], threads=2), notes(0.5)
        expected = model(x)
        children = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                os._exit(0 if (model(x) == expected).all() else 1)
            children.append(pid)
        print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])"""
    said = subprocess.run([sys.executable, "-c", code, run.folder, *sys.path], capture_output=True, text=True, timeout=100)
    assert said.stdout.strip() == "[0, 0, 0, 0]", said.stderr


def test_a_type_that_plays_sample_by_sample_has_a_form_in_numpy(pair, tmp_path):
    small = cafx.train(*pair, RATE, out=tmp_path / "lstm", preset="lstm-nano", settings={"train.epochs": 1}, threads=1, progress=False)
    assert small.model.type == "lstm"
    x = pair[0][:RATE]
    np.testing.assert_allclose(small.model.numpy()(x[None])[0], small.model(x, RATE), atol=1e-5)


KNOBS = ["gain: 0..10 dB", "mode: a|b|c"]  # four controls
AT = {"gain": 9, "mode": "c"}


@pytest.fixture(scope="module", params=["lstm", "cafx"])
def turned(request, tmp_path_factory):
    """A model with knobs, of weights that nothing was learned by."""
    shapes = {"lstm.0.weight": (20, 10), "lstm.0.bias": (20,), "head.weight": (1, 5), "head.bias": (1,)}
    config = {"sample_rate": RATE, "hidden": 5, "layers": 1, "knobs": KNOBS}
    if request.param == "cafx":
        shapes = {"conv1d.weight": (8, 1, 17), "conv1d.bias": (8,), "local_conv.weight": (8, 1, 9), "local_conv.bias": (8,),
                  "local_dense.weight": (8, 16, 16), "local_dense.bias": (8, 16), "dense.weight": (16, 16), "dense.bias": (16,),
                  "dense.knobs": (16, 4), "dnn.0.weight": (8, 8), "dnn.0.bias": (8,), "deconv.bias": (1,)}
        config = {"sample_rate": RATE, "frame": 256, "hop": 128, "filters": 8, "taps": 17, "local_taps": 9, "pool": 16, "latent": 16,
                  "dnn": [8], "activation": "relu", "unpool": "hold", "saaf.enabled": False, "knobs": KNOBS, "knob_layers": "latent"}
    rng = np.random.default_rng(1)
    tensors = {name: np.float32(rng.uniform(-0.5, 0.5, shape)) for name, shape in shapes.items()}
    path = tmp_path_factory.mktemp("knobs") / "m.safetensors"
    from cafx import loader
    loader.save(path, config, tensors, {"model": request.param})
    return cafx.load(path)


def test_knobs_are_those_of_cafx_render(turned, tmp_path):
    model, x = turned, notes(0.5, seed=4)
    assert model.knobs == [cafx.Knob("gain", 5.0, (0.0, 10.0), "dB"), cafx.Knob("mode", "a", positions=("a", "b", "c"))]
    y = model(x, knobs=AT)
    assert np.abs(y - model(x)).max() > 1e-3
    file = types.SimpleNamespace(folder=model.path)
    np.testing.assert_array_equal(y, rendered(file, x, RATE, tmp_path, "--knob", "gain=9", "--knob", "mode=c"))
    np.testing.assert_array_equal(model(x), model(x, knobs={"gain": 5.0, "mode": "a"}))
    np.testing.assert_array_equal(y, model(x, knobs={"Gain": np.float32(9), "MODE": "C"}))
    np.testing.assert_array_equal(y, model(np.stack([x, x], axis=1), knobs=AT)[:, 1])
    from cafx import loader
    form = model.numpy()
    form.turn(**AT)
    np.testing.assert_allclose(loader.render(form, form.config, x), y, atol=2e-5)


def test_a_stream_begins_where_its_knobs_stand(turned):
    model, x = turned, notes(0.5, seed=4)
    stream = model.stream(knobs=AT)
    out = stream(np.concatenate([x, np.zeros(stream.latency, np.float32)]))
    np.testing.assert_array_equal(out[stream.latency:], model(x, knobs=AT))
    np.testing.assert_array_equal(stream.twin()(x), model.stream(knobs=AT)(x))


def test_a_knob_is_turned_while_it_plays(turned):
    model, x = turned, np.tile(notes(0.5, seed=4), 2)
    stream, n = model.stream(), 1024
    before = stream(x[:n])
    for name, value in AT.items():
        stream.set_knob(name, value)
    out = np.concatenate([before, stream(x[n:])])[stream.latency:]
    np.testing.assert_array_equal(out[:n - stream.latency], model(x)[:n - stream.latency])
    there = n + RATE // 4  # the turn, and what the state remembers of before
    np.testing.assert_allclose(out[there:], model(x, knobs=AT)[there:len(out)], atol=1e-5)


def test_the_end_of_a_range_may_be_a_float32(tmp_path):
    """float32(1.1) is more than 1.1, and that is what an array of NumPy holds."""
    from cafx import loader
    rng = np.random.default_rng(1)
    shapes = {"lstm.0.weight": (20, 7), "lstm.0.bias": (20,), "head.weight": (1, 5), "head.bias": (1,)}
    loader.save(tmp_path / "m.safetensors", {"sample_rate": RATE, "hidden": 5, "layers": 1, "knobs": ["drive: 0..1.1"]},
                {name: np.float32(rng.uniform(-0.5, 0.5, shape)) for name, shape in shapes.items()}, {"model": "lstm"})
    model, x = cafx.load(tmp_path / "m.safetensors"), notes(0.5)
    end = np.linspace(0, 1.1, 3, dtype=np.float32)[-1]
    assert float(end) > 1.1
    np.testing.assert_array_equal(model(x, knobs={"drive": end}), model(x, knobs={"drive": 1.1}))
    stream = model.stream()
    stream.set_knob("drive", end)
    assert not np.array_equal(stream(x), model.stream()(x))


def test_what_a_knob_refuses(turned, run):
    model, x = turned, notes(0.5)
    stream = model.stream()
    for call, words in [(lambda: model(x, knobs={"gain": 12}), "model\\(x, knobs\\): gain = 12 is out of its range, 0 to 10 dB"),
                        (lambda: model(x, knobs={"mode": "d"}), "mode = d is out of its range, a, b, c"),
                        (lambda: model(x, knobs={"gain": float("nan")}), "gain = nan is no number; its range is 0 to 10 dB"),
                        (lambda: model(x, knobs={"gian": 1}), "did you mean 'gain'"),
                        (lambda: model.stream(knobs={"gain": -1}), "stream\\(knobs\\): gain = -1 is out of its range, 0 to 10 dB"),
                        (lambda: stream.set_knob("gain", 10.5), "stream.set_knob: gain = 10.5 is out of its range, 0 to 10 dB"),
                        (lambda: stream.set_knob("tone", 1), "no knob of this name"),
                        (lambda: run.model(x, knobs={"gain": 1}), "the model has no knobs")]:
        with pytest.raises(cafx.CafxError, match=words):
            call()
    np.testing.assert_array_equal(stream(x), model.stream()(x))  # what was refused turned nothing
    assert run.model.knobs == []


def test_torch_is_asked_for(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(cafx.CafxError, match="needs PyTorch"):
        run.model.torch()


def test_about_a_model(run):
    model = run.model
    assert (model.type, model.sample_rate, model.frame) == ("cafx", RATE, 256)
    assert model.metadata["format"] == "cafx" and model.parameters > 100
    assert f"{model.parameters:,} parameters at 16000 Hz" in repr(model)


def test_the_numpy_form_says_the_same(run):
    frames = notes(0.5)[: 4 * 256].reshape(4, 256)
    y = run.model.numpy()(frames)
    assert y.shape == frames.shape and np.isfinite(y).all()
    loaded = cafx.load(run.folder).numpy()
    x = notes(0.5, seed=9)
    from cafx import loader
    whole = loader.render(loaded, loaded.config, x, hop=loaded.config["hop"])
    np.testing.assert_allclose(whole, run.model(x), atol=2e-5)


def test_the_torch_form_says_the_same(run):
    torch = pytest.importorskip("torch")
    frames = notes(0.5)[: 4 * 256].reshape(4, 256)
    y = run.model.torch()(torch.from_numpy(frames))
    np.testing.assert_allclose(y.detach().numpy(), run.model.numpy()(frames), atol=1e-5)
