"""nablafx (PyPI) as its project trains black-box models: BlackBoxSystem, DryWetFilesPluginDataModule and a Lightning trainer.

    nablafx_peer.py train SPEC.json        nablafx_peer.py render SPEC.json

The settings are those of its repository (cfg/model, cfg/data, cfg/trainer): segments of 3 s, batch 16, L1 + MR-STFT at .5 each, AdamW,
gradients clipped by value at 10, a tenth of the segments for validation after every epoch, checkpoints every 100 steps. LSTMs are
trained by truncated back-propagation with an update every 100 ms. What differs: the recordings' rate; its loader runs in the process and
not in four others, and logs of Weights & Biases are off, both of which save it time. A run that is stopped has the weights of its best
checkpoint, or the last ones where none has come yet.
"""
import json
import os
import sys
import types

S4 = {"residual": True, "act_type": "tanh", "channel_width": 16, "s4_learning_rate": 0.01, "cond_block_size": 128, "cond_num_layers": 1}
SYSTEMS = {"nablafx-s4-s": dict(S4, num_blocks=4, s4_state_dim=4), "nablafx-s4-l": dict(S4, num_blocks=8, s4_state_dim=32),
           "nablafx-s4-tf-l": dict(S4, num_blocks=8, s4_state_dim=32, cond_type="tfilm"),
           "nablafx-lstm-32": {"hidden_size": 32, "num_layers": 1}}


def without_fad():
    """nablafx imports its Frechet Audio Distance, which fetches models as it is imported and is not measured here."""
    module = types.ModuleType("frechet_audio_distance")
    module.FrechetAudioDistance = None
    sys.modules[module.__name__] = module


def network(system):
    from nablafx.core import BlackBoxModel
    from nablafx.processors.lstm import LSTM
    from nablafx.processors.s4 import S4 as S4Processor
    kind = LSTM if "lstm" in system else S4Processor
    return BlackBoxModel(processor=kind(**SYSTEMS[system]))


def folders(spec):
    """Its data module reads FOLDER/NAME.input.wav and FOLDER/NAME.target.wav."""
    found = []
    for side, path in (("input", spec["dry"]), ("target", spec["wet"])):
        found.append(os.path.join(spec["out"], side))
        os.makedirs(found[-1], exist_ok=True)
        link = os.path.join(found[-1], "take.%s.wav" % side)
        if not os.path.lexists(link):
            os.symlink(os.path.abspath(path), link)
    return found


def train(spec):
    os.environ["WANDB_MODE"] = "disabled"
    import lightning
    import torch
    import wandb
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
    from nablafx.core import BlackBoxSystem, BlackBoxSystemWithTBPTT
    from nablafx.data import DryWetFilesPluginDataModule
    from nablafx.evaluation.flexible_loss import FlexibleLoss
    from watch import Watch
    watch = Watch(spec)
    lightning.seed_everything(42)
    wandb.init(mode="disabled")
    loss = FlexibleLoss([{"name": "l1_loss", "weight": 0.5}, {"name": "mrstft_loss", "weight": 0.5}])
    model, recurrent = network(spec["system"]), "lstm" in spec["system"]
    if recurrent:
        system = BlackBoxSystemWithTBPTT(model, loss, lr=0.001, step_num_samples=spec["rate"] // 10, use_callbacks=True)
    else:
        system = BlackBoxSystem(model, loss, lr=0.01, use_callbacks=True)
    dry, wet = folders(spec)
    data = DryWetFilesPluginDataModule(dry, wet, trainval_split=0.9, sample_length=3 * spec["rate"], sample_rate=spec["rate"], preload=True,
                                       batch_size=16, num_workers=0)
    checkpoint = ModelCheckpoint(dirpath=os.path.join(spec["out"], "checkpoints"), save_last=True, save_top_k=1, monitor="loss/val/tot",
                                 every_n_train_steps=3000 if recurrent else 100)

    def kept():
        best = checkpoint.best_model_path
        return torch.load(best, map_location="cpu", weights_only=False)["state_dict"] if best else system.state_dict()

    class Stop(lightning.Callback):
        def on_train_start(self, trainer, module):
            watch.begin()

        def on_train_batch_end(self, trainer, module, *_):
            if watch.step(kept):
                trainer.should_stop = True

    # Where gradients are clipped by hand, the trainer must not clip.
    clip = {} if recurrent else {"gradient_clip_val": 10.0, "gradient_clip_algorithm": "value"}
    trainer = lightning.Trainer(accelerator="cpu", devices=1, max_steps=451000 if recurrent else 15000, logger=False,
                                enable_progress_bar=False, default_root_dir=spec["out"],
                                callbacks=[checkpoint, EarlyStopping("loss/val/tot", patience=50), Stop()], **clip)
    trainer.fit(system, data)


def render(spec):
    from watch import rendered
    model = network(spec["system"])

    def player(state):
        model.load_state_dict({k[len("model."):]: v for k, v in state.items() if k.startswith("model.")})
        model.eval()

        def play(x):
            model.reset_states()
            return model(x[None, None], None)

        return play

    rendered(spec, player)


if __name__ == "__main__":
    without_fad()
    with open(sys.argv[2]) as file:
        {"train": train, "render": render}[sys.argv[1]](json.load(file))
