import json
import pickle
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from tests.small_models import CLASSES, IMAGE, NOTEBOOK, chained, member, pixels
from tests.small_predictors import calibrate as calibrate_run
from tests.small_predictors import finished
from tumorboard import run_folder, storage
from tumorboard.config import Image
from tumorboard.errors import Interrupted, ModelError
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import ModelSpec
from tumorboard.workflows import predictor


@pytest.fixture(scope="module")
def model():
    return member("custom", NOTEBOOK)


@pytest.fixture
def saved(model, tmp_path):
    saving.save(*model, tmp_path / "custom.keras")
    return tmp_path / "custom.keras"


def plant(path, content):
    """A foreign file under a spec whose hash is right."""
    path.write_bytes(content)
    spec = ModelSpec("m", "custom", CLASSES, IMAGE)
    storage.write_json(saving.spec_path(path), {**spec.to_json(), "sha256": storage.sha256(path)})
    return path


def refused(path, match):
    with pytest.raises(ModelError, match=match) as error:
        saving.load(path)
    message = str(error.value)
    assert path.stem in message  # a long path is shortened from the left
    assert "\n" not in message
    return message


def test_a_contract_lies_beside_the_model(saved):
    content = json.loads(saving.spec_path(saved).read_text("utf-8"))
    assert content["class_names"] == list(CLASSES)
    assert content["sha256"] == storage.sha256(saved)
    assert saving.is_saved(saved)
    assert sorted(file.name for file in saved.parent.iterdir()) == ["custom.json", "custom.keras"]


def test_a_model_is_saved_without_its_optimizer(model, tmp_path):
    network, spec = model
    network.compile("adam", "sparse_categorical_crossentropy")
    saving.save(network, spec, tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        config = json.loads(archive.read("config.json"))
    assert not config.get("compile_config")
    assert not saving.load(tmp_path / "m.keras")[0].compiled


def test_a_model_that_breaks_its_contract_is_not_saved(model, tmp_path):
    with pytest.raises(ModelError, match="output shape"):
        saving.save(model[0], ModelSpec("custom", "custom", ("a", "b"), IMAGE), tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_one_changed_byte_is_refused(saved, where):
    content = bytearray(saved.read_bytes())
    content[round(where * (len(content) - 1))] ^= 1
    saved.write_bytes(content)
    refused(saved, "SHA-256")
    assert not saving.is_saved(saved)


def test_a_missing_model_is_named(tmp_path):
    refused(tmp_path / "m.keras", "expected a model at")


def test_a_missing_contract_is_named(saved):
    saving.spec_path(saved).unlink()
    refused(saved, "custom.json, found none")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "cut off", "no text", "very deep"]
)
def test_a_damaged_contract_is_named(saved, text):
    saving.spec_path(saved).write_bytes(text)
    refused(saved, "custom.json, found none that can be read")


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"a": 1},
        {"sha256": "0"},
        {"sha256": "0", "name": "m", "kind": "k", "class_names": 3, "image": {}, "details": {}},
        {"sha256": "0", "name": "m", "kind": "k", "class_names": [], "image": {"size": 9}, "details": {}},
        {"sha256": "0", "name": "m", "kind": "k", "class_names": [], "image": {}, "details": 1},
    ],
)
def test_a_foreign_contract_is_named(saved, content):
    saving.spec_path(saved).write_text(json.dumps(content))
    assert len(refused(saved, "custom.json is not a model specification")) < 300 + len(str(saved))


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


@pytest.mark.parametrize("suffix", [".keras", ".pkl", ".h5", ""])
def test_a_pickle_is_not_opened(tmp_path, suffix):
    canary = tmp_path / "canary"
    path = plant(tmp_path / f"m{suffix}", pickle.dumps(Bomb(canary)))
    refused(path, "cannot be loaded as a model" if suffix == ".keras" else "expected a .keras file")
    assert not canary.exists()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_an_h5_file_is_not_opened(model, tmp_path, suffix):
    model[0].save(tmp_path / "legacy.h5")
    path = plant(tmp_path / f"m{suffix}", (tmp_path / "legacy.h5").read_bytes())
    refused(path, "cannot be loaded as a model" if suffix == ".keras" else "expected a .keras file")


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(plant(tmp_path / "m.keras", (tmp_path / "m.zip").read_bytes()), "'readme.txt' in the archive")


def test_a_lambda_is_refused_and_once_more_by_keras(tmp_path, monkeypatch):
    image = keras.Input((32, 32, 3), name="m_image")
    x = keras.layers.Flatten(name="m_flatten")(image)
    x = keras.layers.Lambda(lambda values: values * 2, name="m_code")(x)
    model = keras.Model(image, keras.layers.Dense(3, name="m_probabilities")(x), name="m")
    saving.save(model, ModelSpec("m", "custom", CLASSES, IMAGE), tmp_path / "m.keras")
    refused(tmp_path / "m.keras", "found the class 'keras.layers.Lambda'")
    monkeypatch.setattr(saving.safe_loading, "inspect", lambda path: None)
    refused(tmp_path / "m.keras", "found .*`Lambda` layer")  # in its safe mode


def test_a_model_of_another_name_than_its_contract_says_is_refused(model, tmp_path):
    keras.Model(model[0].input, model[0].output, name="custom").save(tmp_path / "m.keras")
    path = plant(tmp_path / "m.keras", (tmp_path / "m.keras").read_bytes())
    with pytest.raises(ModelError, match="does not match its specification"):
        saving.load(path)


def test_a_signal_while_keras_loads_stays_a_signal(saved, monkeypatch):
    def interrupted(*_, **__):
        raise Interrupted("stopped by SIGINT")

    monkeypatch.setattr(keras.saving, "load_model", interrupted)
    with pytest.raises(Interrupted):
        saving.load(saved)


def test_what_keras_does_not_take_is_one_line(saved, monkeypatch):
    def refusing(*_, **__):
        raise ValueError("no such layer\n\nand a page of config")

    monkeypatch.setattr(keras.saving, "load_model", refusing)
    refused(saved, "found no such layer;")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format_version": 2}, "format_version is 2"),
        ({"input": {"shape": [32, 32, 3], "values": "0-1, RGB"}}, "input is .*0-1"),
        ({"output": "logits"}, "output is logits"),
        ({"class_names": ["a", "b", "b"]}, "class_names are not"),
        ({"class_names": ["a", "b"]}, "output shape"),
        (
            {
                "image": {"size": 64},
                "input": ModelSpec("m", "k", ("a", "b"), Image(size=64)).to_json()["input"],
            },
            "input shape",
        ),
        ({"name": "other"}, "name custom, expected other"),
    ],
)
def test_a_contract_that_promises_something_else_is_refused(saved, change, match):
    content = json.loads(saving.spec_path(saved).read_text()) | change
    storage.write_json(saving.spec_path(saved), content)
    with pytest.raises(ModelError, match=match):
        saving.load(saved)


def test_scores_are_no_probabilities(tmp_path):
    image = keras.Input((32, 32, 3), name="m_image")
    x = keras.layers.Dense(3, name="m_probabilities")(keras.layers.Flatten(name="m_flatten")(image))
    saving.save(
        keras.Model(image, x, name="m"), ModelSpec("m", "custom", CLASSES, IMAGE), tmp_path / "m.keras"
    )
    with pytest.raises(ModelError, match="activation 'linear', expected 'softmax'"):
        saving.load(tmp_path / "m.keras")


def test_a_given_model_is_tried_apart_unless_its_run_lists_it(saved, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(saving.safe_loading, "load_in_child", tried.append)
    saving.load_untrusted(saved)
    assert tried == [saved]
    run = finished(tmp_path / "run")
    saving.load_untrusted(str(run.model("custom")))
    assert tried == [saved]
    for file in (run.model("custom"), run.model_spec("custom")):
        sound = file.read_bytes()
        file.write_bytes(sound[:-1])
        with pytest.raises(ModelError, match=f"{file.name} is not the file that was trained"):
            saving.load_untrusted(run.model("custom"))
        file.write_bytes(sound)


def flipped(path, rng):
    """Flip one bit of a file; the place and what was there."""
    where = int(rng.integers(path.stat().st_size))
    with path.open("r+b") as file:
        file.seek(where)
        byte = file.read(1)[0]
        file.seek(where)
        file.write(bytes([byte ^ 1 << int(rng.integers(8))]))
    return where, byte


@pytest.mark.tensorflow
def test_a_thousand_flipped_bits_over_all_files_are_refused_before_anything_is_parsed(tmp_path, monkeypatch):
    run, rng = finished(tmp_path / "run", joint_graph=True), np.random.default_rng(0)
    calibrate_run(run, "custom")
    hashes = run_folder.read_checksums(run)
    files = sorted((run.root / "models").iterdir())
    assert len(files) == 11
    monkeypatch.setattr(saving, "load", lambda path: pytest.fail("a changed model was loaded"))
    monkeypatch.setattr(
        predictor, "open_exported", lambda *_: pytest.fail("a changed joint graph was opened")
    )
    monkeypatch.setattr(
        predictor.OutOfDistribution, "from_bytes", lambda *_: pytest.fail("a changed file was read")
    )

    def opened(path):
        if path.suffix == ".npz":
            predictor.read_reliability(run, "custom", hashes)
        elif path.name.startswith("all.onnx"):
            predictor._open_joint_graph(run, hashes, ("custom",), "custom", predictor.Reliability())
        else:
            predictor.load_networks(run, hashes, (path.stem,))

    for number in range(1000):
        path = files[number % len(files)]
        where, byte = flipped(path, rng)
        with pytest.raises(ModelError, match=path.name):
            opened(path)
        with path.open("r+b") as file:
            file.seek(where)
            file.write(bytes([byte]))


def test_plain_keras_loads_a_model_without_this_package(tmp_path):
    network, spec = chained("chained", [member("pretrained"), member("custom", NOTEBOOK)])
    saving.save(network, spec, tmp_path / "chained.keras")
    np.save(tmp_path / "images.npy", pixels(2))
    script = (
        "import sys; sys.modules['tumorboard'] = None\n"
        "import keras, numpy\n"
        "model = keras.saving.load_model('chained.keras')\n"
        "images = numpy.load('images.npy')\n"
        "rows = [model.predict_on_batch(images[i : i + 1])[0] for i in range(2)]\n"
        "numpy.save('found.npy', rows)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), probabilities(network, pixels(2)))
