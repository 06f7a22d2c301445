"""Results that an experiment keeps between its calls: JSON, whole or not there, whatever stops it."""
import json
import os


def keep(path, value):
    with open(path + ".part", "w") as file:
        json.dump(value, file, indent=1)
    os.replace(path + ".part", path)


def read(path):
    with open(path) as file:
        return json.load(file)
