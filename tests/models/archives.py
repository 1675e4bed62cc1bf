"""A saved model in its parts, and the parts with something changed."""

import io
import json
import zipfile

import h5py
import numpy as np

from tests.small_predictors import networks


def saved(folder):
    """The files in the archive of a small chain, by name."""
    path = folder / "m.keras"
    networks()["chained"][0].save(path)
    with zipfile.ZipFile(path) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def archive(parts, compression=zipfile.ZIP_STORED):
    """The bytes of a file that holds the parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    return file.getvalue()


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


def declared(content):
    """An array that says to be 40 GB, of which nothing is stored."""
    content.create_dataset("huge", (10**7, 10**3), np.float32)


def linked(content):
    """A link to a file of the machine."""
    content["other"] = h5py.ExternalLink("/etc/passwd", "/")


def outside(content):
    """An array whose bytes are another file's."""
    content.create_dataset("outside", (4,), np.uint8, external=[("/etc/passwd", 0, 4)])
