"""A saved model in its parts, and the parts with something changed."""

import io
import json
import zipfile

import h5py

from tests.small_boards import networks


def saved(folder):
    """The files in the archive of a small chain, by name."""
    path = folder / "m.keras"
    networks()["chained"][0].save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def configured(parts, change):
    """The parts with `change` applied to the config's Dense layer and to the whole."""
    config = json.loads(parts["config.json"])
    dense = next(one for one in config["config"]["layers"] if one["class_name"] == "Dense")
    change(config, dense)
    return parts | {"config.json": json.dumps(config).encode()}


def weighted(parts, change):
    """The parts with `change` applied to the weights file."""
    file = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(file, "r+") as content:
        change(content)
    return parts | {"model.weights.h5": file.getvalue()}
