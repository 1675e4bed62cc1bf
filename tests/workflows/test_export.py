import json
from importlib.util import find_spec

import pytest
from PIL import Image

from tests.small_predictors import CLASSES, finished, pixels
from tumorboard import NOTICE, storage
from tumorboard.cli.main import main
from tumorboard.data.manifest import RUN_COLUMNS
from tumorboard.workflows import export as module
from tumorboard.workflows.export import export

pytestmark = pytest.mark.skipif(
    any(find_spec(one) is None for one in ("onnx", "onnxruntime", "tf2onnx")),
    reason='needs pip install ".[onnx]"',
)


def with_images(run, folder, splits=("train", "valid", "test")):
    """Write a manifest of an image a split."""
    lines = [",".join(RUN_COLUMNS)]
    for number, split in enumerate(splits):
        path = folder / f"{split}.png"
        Image.fromarray(pixels(1, seed=number)[0]).save(path)
        lines.append(f"{split}.png,{path},{split},{CLASSES[0]},,{storage.sha256(path)}")
    storage.write_text(run.manifest, "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exporting")
    run = finished(folder / "run")
    with_images(run, folder)
    return run


def test_it_compares_on_images_of_train_and_validation(run, monkeypatch):
    done = export(run.root, "custom", "onnx")
    assert done.path == run.export("custom", "onnx", ".onnx")
    assert (done.check.images, done.check.real) == (2, True)
    assert max(done.check.differences.values()) < 1e-5


def test_without_images_it_compares_on_random_ones_and_says_so(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "_samples", lambda folder: ())
    monkeypatch.setattr(module, "IMAGES", 3)
    out = tmp_path / "new" / "a.onnx"
    assert main(["export", str(run.root), "--model", "custom", "--format", "onnx", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "; on 3 random images, for the run's own are gone" in text
    assert "Keras: probabilities " in text
    assert ", embedding " in text
    assert NOTICE in text
    assert text.splitlines()[-1] == f"Export: {out}"
    facts = json.loads((tmp_path / "new" / "a.onnx.json").read_text())
    assert facts["compared"]["real"] is False
    assert facts["model_sha256"] == storage.sha256(run.model("custom"))


def test_an_unknown_model_is_one_line(run, capsys):
    assert main(["export", str(run.root), "--model", "other", "--format", "onnx"]) == 2
    assert "found 'other'" in capsys.readouterr().err


def test_json(run, capsys):
    assert main(["export", str(run.root), "--model", "custom", "--format", "onnx", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["export"] == str(run.export("custom", "onnx", ".onnx"))
    assert told["real"] is True


def test_a_damaged_manifest_is_as_none(run, tmp_path):
    other = finished(tmp_path / "run")
    storage.write_text(other.manifest, "no,manifest\n")
    assert module._samples(other) == ()
