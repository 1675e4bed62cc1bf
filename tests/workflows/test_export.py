"""Exports of a run's models, and predictions by other runtimes."""

import json

import pytest
from PIL import Image

from tests.small_predictors import CLASSES, IMAGE, NAMES, calibrate, finished, networks, pixels
from tumorboard import NOTICE, storage
from tumorboard.cli.main import main
from tumorboard.data.manifest import RUN_COLUMNS
from tumorboard.export import exported_model
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder, read_checksums
from tumorboard.workflows import export as module
from tumorboard.workflows.export import add_joint_graph, comparison_images, export


def with_images(run, folder, splits=("train", "valid", "test")):
    """Write a manifest of one image per split."""
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
    calibrate(run, "custom")
    return run


def test_it_compares_on_images_of_train_and_validation(run):
    done = export(run.root, "custom", "onnx")
    assert done.path == run.export("custom", "onnx", ".onnx")
    assert (done.check.images, done.check.real) == (2, True)
    assert max(done.check.differences.values()) < 1e-5


def test_without_images_it_compares_on_random_ones_and_says_so(tmp_path, monkeypatch, capsys):
    run = finished(tmp_path / "run")
    monkeypatch.setattr(module, "IMAGES", 3)
    out = tmp_path / "new" / "a.onnx"
    assert main(["export", str(run.root), "--model", "custom", "--format", "onnx", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "; on 3 random images, because the images of the run are missing" in text
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
    assert told["record"] == str(run.export("custom", "onnx", ".onnx.json"))
    assert told["real"] is True


def test_a_damaged_manifest_is_as_none(tmp_path):
    run = RunFolder(tmp_path)
    storage.write_text(run.manifest, "no,manifest\n")
    images, real = comparison_images(run, IMAGE)
    assert images.shape == (module.IMAGES, 32, 32, 3)
    assert not real


def test_images_of_test_are_not_opened(run, monkeypatch):
    opened, read = [], module.read_input
    monkeypatch.setattr(
        module, "read_input", lambda path, settings: opened.append(path.stem) or read(path, settings)
    )
    images, real = comparison_images(run, IMAGE)
    assert (len(images), real, sorted(opened)) == (2, True, ["train", "valid"])


def test_the_joint_graph_is_made_again_with_its_hash(run, capsys):
    before = run.checksums.read_text()
    assert main(["export", str(run.root), "--model", "all", "--format", "onnx"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Export: {run.joint_graph}"
    hashes, record = read_checksums(run), exported_model.record_path(run.joint_graph)
    assert {name: hashes.pop(name) for name in ("all.onnx", "all.onnx.json")} == {
        file.name: storage.sha256(file) for file in (run.joint_graph, record)
    }
    assert "".join(f"{value}  models/{name}\n" for name, value in hashes.items()) == before
    content = json.loads(record.read_text())
    assert list(content["outputs"]) == [*NAMES, "custom:embedding"]
    assert (content["kind"], content["compared"]["images"]) == ("joint graph", 2)
    assert sorted(file.name for file in run.joint_graph.parent.iterdir()) == sorted(
        [*read_checksums(run)]
    )  # nothing else is left


@pytest.mark.parametrize("options", [["--format", "litert"], ["--format", "onnx", "--out", "all.onnx"]])
def test_the_joint_graph_has_one_format_and_one_place(run, options, capsys):
    assert main(["export", str(run.root), "--model", "all", *options]) == 2
    assert "expected --format onnx and no --out with --model all" in capsys.readouterr().err


def test_a_run_without_a_joint_graph_is_finished_too(tmp_path, monkeypatch, capsys):
    run = finished(tmp_path / "run")
    monkeypatch.setattr(module, "IMAGES", 2)
    monkeypatch.setattr(exported_model, "LIMIT", -1.0)
    add_joint_graph(run, networks(), NAMES, "custom", Console())
    assert "no joint graph, so that predict starts more slowly: the onnx file's" in capsys.readouterr().err
    assert not run.joint_graph.exists()
    assert "all.onnx" not in read_checksums(run)


def test_a_joint_graph_of_the_models_stays_and_one_of_others_does_not(tmp_path, monkeypatch):
    run = finished(tmp_path / "run", joint_graph=True)
    written = []
    monkeypatch.setattr(module, "write_joint_graph", lambda run, models, name: written.append(name))
    add_joint_graph(run, networks(), NAMES, "custom", Console())
    assert written == []
    add_joint_graph(run, networks(), NAMES, "ensemble", Console())  # its embedding is another
    run.checksums.write_text(
        run.checksums.read_text().replace(read_checksums(run)["chained.keras"], "0" * 64)
    )
    add_joint_graph(run, networks(), NAMES, "custom", Console())
    assert written == ["ensemble", "custom"]
