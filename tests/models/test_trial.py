import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from tests.small_models import CLASSES, IMAGE, NOTEBOOK, member
from tumorboard import storage
from tumorboard.errors import ModelError, TumorboardError
from tumorboard.models import safe_loading, saving
from tumorboard.models.model_spec import ModelSpec
from tumorboard.models.safe_loading import inspect


def bomb(path):
    """A model that passes every look from outside, and asks Keras for 51 GB: Flatten, then Dense."""
    saving.save(*member("m", NOTEBOOK), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    by_class = {one["class_name"]: one for one in config["config"]["layers"]}
    by_class["InputLayer"]["config"]["batch_shape"] = [None, 40000, 40000, 3]
    for one in config["config"]["layers"]:
        one.pop("build_config", None)
        if one["class_name"] == "Dense":
            one["config"]["units"] = 4096
    file = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        weights["wide"] = np.zeros(4096, np.float32)
    parts |= {"config.json": json.dumps(config).encode(), "model.weights.h5": file.getvalue()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    spec = ModelSpec("m", "custom", CLASSES, IMAGE).to_json() | {"sha256": storage.sha256(path)}
    storage.write_json(saving.spec_path(path), spec)
    return path


@pytest.mark.slow
def test_a_good_model_passes_and_a_bomb_ends_its_own_process(tmp_path):
    saving.save(*member("custom", NOTEBOOK), tmp_path / "custom.keras")
    safe_loading.load(tmp_path / "custom.keras")
    path = bomb(tmp_path / "m.keras")
    inspect(path)
    with pytest.raises(ModelError, match=r"m\.keras .*(limited memory|OOM|[Mm]emory)"):
        safe_loading.load(path)


@pytest.mark.parametrize(
    ("code", "said", "match"),
    [
        (5, b"started\nm.keras is no model", "m.keras is no model"),
        (-9, b"started\n", "it ended with -9"),
        (1, b"started\nx", "ended with 1"),
    ],
)
def test_what_the_other_process_met_is_told(tmp_path, monkeypatch, code, said, match):
    answer = safe_loading.subprocess.CompletedProcess([], code, said, b"")
    monkeypatch.setattr(safe_loading.subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(ModelError, match=match):
        safe_loading.load(tmp_path / "m.keras")


def test_a_process_that_does_not_start_says_nothing_of_the_model(tmp_path, monkeypatch):
    output = b"Traceback\nModuleNotFoundError: No module named 'x'\n"
    answer = safe_loading.subprocess.CompletedProcess([], 1, b"", output)
    monkeypatch.setattr(safe_loading.subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(TumorboardError, match=r"cannot start .*m.keras in: .*No module named 'x'") as raised:
        safe_loading.load(tmp_path / "m.keras")
    assert not isinstance(raised.value, ModelError)


def test_a_process_that_does_not_end_is_given_up(tmp_path, monkeypatch):
    def late(*_, **__):
        raise safe_loading.subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(safe_loading.subprocess, "run", late)
    with pytest.raises(ModelError, match="could not be loaded within"):
        safe_loading.load(tmp_path / "m.keras")


def test_the_other_process_answers_with_the_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(safe_loading, "limit_memory_and_time", lambda: None)
    assert saving.main(tmp_path / "m.keras") == 5
    assert "expected a model at" in capsys.readouterr().out
    saving.save(*member("custom", NOTEBOOK), tmp_path / "custom.keras")
    assert saving.main(tmp_path / "custom.keras") == 0
