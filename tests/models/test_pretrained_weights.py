import hashlib
import pickle

import h5py
import keras
import numpy as np
import pytest

from tumorboard.errors import ModelError
from tumorboard.models import pretrained_weights
from tumorboard.models.pretrained_weights import load_embedded, load_file


def network(filters=4, name="net"):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(filters, 3, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x), name=name)


def write_older_layout(model, path):
    """As keras.applications' files are: names in attributes, one group a layer, matched by order."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            weights = [*layer.trainable_weights, *layer.non_trainable_weights]
            names = [f"{layer.name}/{weight.name}:0" for weight in weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, weights, strict=True):
                group[name] = np.asarray(weight)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.weights.h5"
    network().save_weights(path)
    return path


def refused(path, model=None):
    with pytest.raises(ModelError) as caught:
        load_file(model or network(), path)
    message = str(caught.value)
    assert len(message) <= 300
    assert "\n" not in message
    assert path.name in message
    return message


def assert_same_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_new_layout_comes_back_under_another_name(tmp_path):
    source, target = network(name="one"), network(name="two")
    source.save_weights(tmp_path / "w.weights.h5")
    load_file(target, tmp_path / "w.weights.h5")
    assert_same_weights(source, target)


def test_older_layout_comes_back(tmp_path):
    source, target = network(), network()
    write_older_layout(source, tmp_path / "w_notop.h5")
    load_file(target, tmp_path / "w_notop.h5")
    assert_same_weights(source, target)


def test_names_cut_into_pieces_by_the_attribute_limit(tmp_path):
    source, target = network(), network()
    write_older_layout(source, tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:2], names[2:]
    load_file(target, tmp_path / "w.h5")
    assert_same_weights(source, target)


@pytest.mark.parametrize("layout", ["new", "older"])
def test_another_width_names_both_shapes(tmp_path, layout):
    path = tmp_path / ("w.weights.h5" if layout == "new" else "w.h5")
    other = network(filters=5)
    other.save_weights(path) if layout == "new" else write_older_layout(other, path)
    message = refused(path)
    assert "3, 3, 3, 4" in message
    assert "3, 3, 3, 5" in message


@pytest.mark.parametrize("layout", ["new", "older"])
def test_a_file_with_a_layer_too_many(tmp_path, layout):
    path = tmp_path / ("w.weights.h5" if layout == "new" else "w.h5")
    base = network()
    bigger = keras.Model(base.input, keras.layers.Dense(2)(base.output))
    bigger.save_weights(path) if layout == "new" else write_older_layout(bigger, path)
    message = refused(path)
    assert ("expected 7" in message and "found 9" in message) or (
        "expected 3" in message and "found 4" in message
    )


def test_a_missing_array_with_another_in_its_place(good):
    with h5py.File(good, "r+") as file:
        file["layers/other/vars/0"] = file["layers/dense/vars/0"][()]
        del file["layers/dense/vars/0"]
    assert "expected the weights of net" in refused(good)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_finite_numbers(good, value):
    with h5py.File(good, "r+") as file:
        file["layers/dense/vars/0"][0, 0] = value
    assert "NaN or infinity in dense" in refused(good)


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_cut_short(good, kept):
    content = good.read_bytes()
    good.write_bytes(content[: int(kept if kept > 1 else kept * len(content))])
    refused(good)


def test_pickle_by_content(tmp_path):
    path = tmp_path / "w.weights.h5"
    path.write_bytes(pickle.dumps({"a": 1}))
    assert "pickle, .keras?" in refused(path)


def test_keras_archive_by_content(tmp_path):
    network().save(tmp_path / "model.keras")
    (tmp_path / "model.keras").rename(tmp_path / "w.weights.h5")
    assert "expected an HDF5 file" in refused(tmp_path / "w.weights.h5")


def test_whole_model_by_content(tmp_path):
    path = tmp_path / "model.h5"
    write_older_layout(network(), path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = "{}"
    assert "whole model" in refused(path)


def test_no_such_file_names_the_other_choices(tmp_path):
    message = refused(tmp_path / "imagnet")
    assert "no such file" in message
    assert '"imagenet"' in message


def test_folder(tmp_path):
    refused(tmp_path)


def test_name_that_belies_the_layout(tmp_path, good):
    write_older_layout(network(), tmp_path / "old.weights.h5")
    assert "a name ending in .h5" in refused(tmp_path / "old.weights.h5")
    renamed = good.rename(tmp_path / "new.h5")
    assert "a name ending in .weights.h5" in refused(renamed)


def plant(path, kind):
    """Each way in which HDF5 reaches outside the file, or pretends to hold more than it does."""
    elsewhere = path.with_name("elsewhere.h5")
    with h5py.File(elsewhere, "w") as file:
        file["secret"] = np.ones((4, 2), "float32")
    raw = path.with_name("secret.bin")
    raw.write_bytes(b"\0" * 64)
    with h5py.File(path, "r+") as file:
        group = file["layers/dense/vars"]
        del group["0"]
        if kind == "external link":
            group["0"] = h5py.ExternalLink(str(elsewhere), "/secret")
        elif kind == "soft link":
            group["0"] = h5py.SoftLink("/layers/dense/vars/1")
        elif kind == "external storage":
            group.create_dataset("0", (4, 2), "float32", external=[(str(raw), 0, 32)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((4, 2), "float32")
            layout[...] = h5py.VirtualSource(str(elsewhere), "secret", (4, 2))
            group.create_virtual_dataset("0", layout)
        elif kind == "loop":
            group["0"] = file["layers"]
        elif kind == "objects":
            group.create_dataset("0", (4, 2), h5py.string_dtype())
        elif kind == "bomb":
            group.create_dataset("0", (2**40,), "float32", chunks=(1024,), compression="gzip")
        elif kind == "bomb of integers":
            group["0"] = np.ones((4, 2), "float32")
            group.create_dataset("2", (2**40,), "uint8", chunks=(1024,), compression="gzip")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("external link", "a link at"),
        ("soft link", "a link at"),
        ("external storage", "no array of numbers"),
        ("virtual", "no array of numbers"),
        ("loop", "a second way"),
        ("objects", "no array of numbers"),
        ("bomb", "found (1099511627776,)"),
        ("bomb of integers", "bytes of weights"),
    ],
)
def test_hostile_files_are_refused_before_keras_reads_them(good, kind, word, monkeypatch):
    plant(good, kind)
    model = network()
    monkeypatch.setattr(model, "load_weights", lambda path: pytest.fail("Keras read a hostile file"))
    assert word in refused(good, model)


def test_long_names_stay_within_the_line(tmp_path):
    folder = tmp_path / ("f" * 200)
    folder.mkdir()
    refused(folder / ("w" * 60))


def test_damaged_embedded_weights(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    network().save_weights(tmp_path / "weights" / "net.weights.h5")
    content = (tmp_path / "weights" / "net.weights.h5").read_bytes()
    record = tmp_path / "weights" / "net.json"
    monkeypatch.setattr(pretrained_weights.resources, "files", lambda package: tmp_path)
    record.write_text(f'{{"sha256": "{hashlib.sha256(content).hexdigest()}"}}')
    load_embedded(network(), "net")
    (tmp_path / "weights" / "net.weights.h5").write_bytes(content[:-1] + b"x")
    with pytest.raises(ModelError, match="reinstall"):
        load_embedded(network(), "net")
