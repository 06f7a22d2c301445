"""Optuna drives cafx from outside: a trial is one `cafx train --json`. From the project's folder, after `pip install optuna`:
python3 experiments/optuna/search.py build/cpu/host/cafx 20 data.path=datasets/notes data.effect=Distortion data.setting=2"""
import json
import subprocess
import sys

import optuna

cafx, n_trials, settings = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


def objective(trial):
    point = {"train.lr": trial.suggest_float("train.lr", 3e-4, 1e-2, log=True),
             "train.batch": trial.suggest_categorical("train.batch", [8, 16, 32])}
    words = [cafx, "train", "--json", "--quiet", "--out", f"runs/optuna/{trial.number}"]
    for setting in settings + [f"{key}={value}" for key, value in point.items()]:
        words += ["--set", setting]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)["validation_mae"]


study = optuna.create_study(study_name="cafx", storage="sqlite:///optuna.db", load_if_exists=True)
study.optimize(objective, n_trials, catch=subprocess.CalledProcessError)  # a run that breaks down fails its trial
print(f"best: validation_mae {study.best_value:.6g} at {study.best_params}, runs/optuna/{study.best_trial.number}")
