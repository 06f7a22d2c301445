"""NeuralAmpModeler's trainer (PyPI: neural-amp-modeler) as `nam-full` runs it: nam.train.full.main with three configs.

    nam_peer.py train SPEC.json        nam_peer.py render SPEC.json

The configs are the ones that the project documents: the data of nam_full_configs/data/single_pair.json (8192 samples an example), the
learning of nam_full_configs/learning/default.json (batch 16, Adam .004, gamma .993, all on the CPU here), the sizes that the
trainer's releases before 0.13 call standard, lite, feather and nano (A1), and the config that 0.13 ships for A2, which trains both of its
sizes at once. A run that is stopped ends as Ctrl-C ends it: with the best weights of its validations, or the last ones where none
has come yet.
"""
import importlib.resources
import json
import pathlib
import sys

A1 = {"standard": (16, 8, [10, 10]), "lite": (12, 6, [7, 13]), "feather": (8, 4, [7, 13]), "nano": (4, 2, [7, 13])}
A2 = {"nam-a2": 1, "nam-a2-small": 0}  # which of the sizes that are trained at once


def wavenet(size):
    first, second, layers = A1[size]
    row = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    dilations = [row, row] if layers == [10, 10] else [row[:7], row[7:] + row]
    array = lambda inputs, channels, head, bias, which: {
        "input_size": inputs, "condition_size": 1, "channels": channels, "kernel_size": 3, "dilations": dilations[which],
        "activation": "Tanh", "head": {"out_channels": head, "kernel_size": 1, "bias": bias}}
    return {"net": {"name": "WaveNet", "config": {"layers_configs": [array(1, first, second, False, 0), array(first, second, 1, True, 1)],
                                                  "head_scale": 0.02}},
            "loss": {"val_loss": "esr"}, "optimizer": {"lr": 0.004},
            "lr_scheduler": {"class": "ExponentialLR", "kwargs": {"gamma": 0.993}}}


def model_config(system):
    if system.startswith("nam-a2"):
        return json.loads(importlib.resources.files("nam.train._resources").joinpath("config_model_packed.json").read_text())
    return wavenet(system[4:])


def module_class(config):
    from nam.train import lightning_module
    packed = config["net"]["name"] == "PackedWaveNet"
    return lightning_module.PackedLightningModule if packed else lightning_module.LightningModule


def train(spec):
    import pytorch_lightning as pl
    import torch
    from nam.train import full
    from watch import Watch
    watch = Watch(spec)
    config = model_config(spec["system"])
    at = {"train": {"stop_samples": spec["train_stop"], "ny": 8192}, "validation": {"start_samples": spec["validation_start"], "ny": None},
          "common": {"x_path": spec["dry"], "y_path": spec["wet"], "delay": 0}}
    if config["net"]["name"] == "PackedWaveNet":  # as the trainer does that this config is from
        at["joint"] = [{"name": "nam.data.normalize_joint_dataset_output", "kwargs": {"level_rms_dbfs": -18.0}}]
    learning = {"train_dataloader": {"batch_size": 16, "shuffle": True, "pin_memory": False, "drop_last": True, "num_workers": 0},
                "val_dataloader": {}, "trainer": {"accelerator": "cpu", "devices": 1, "max_epochs": 100000, "enable_progress_bar": False}}

    def kept(trainer, module):
        best = trainer.checkpoint_callback.best_model_path
        return torch.load(best, map_location="cpu", weights_only=False)["state_dict"] if best else module.state_dict()

    class Stop(pl.Callback):
        def on_train_start(self, trainer, module):
            self.y_scale = trainer.train_dataloader.dataset._y_scale or 1.0  # what the joint hook made of the targets
            watch.begin()

        def on_train_batch_end(self, trainer, module, *_):
            if watch.step(lambda: {"weights": kept(trainer, module), "y_scale": self.y_scale}):
                trainer.should_stop = True

    class Trainer(pl.Trainer):  # nam-full makes its own trainer: the only way to watch it
        def __init__(self, callbacks, **kwargs):
            super().__init__(callbacks=callbacks + [Stop()], **kwargs)

    full._pl.Trainer = Trainer
    out = pathlib.Path(spec["out"], "nam")
    out.mkdir(parents=True, exist_ok=True)
    full.main(at, config, learning, out, no_show=True, make_plots=False)


def render(spec):
    from watch import rendered
    config = model_config(spec["system"])
    module = module_class(config).init_from_config(config)

    def player(kept):
        module.load_state_dict(kept["weights"])
        module.eval()
        net = module.net
        if config["net"]["name"] == "PackedWaveNet":
            net = net.extract_submodel(A2[spec["system"]])
            net.eval()
        return lambda x: net(x, pad_start=True) / kept["y_scale"]

    rendered(spec, player)


if __name__ == "__main__":
    with open(sys.argv[2]) as file:
        {"train": train, "render": render}[sys.argv[1]](json.load(file))
