import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.small_runs import CLASSES, RECIPE, deepen, draw, draw_patients, prepared
from tumorboard import config, progress
from tumorboard.data import manifest
from tumorboard.data.image_reader import read_input
from tumorboard.errors import DataError, Interrupted, ModelError, RecipeError, RunFolderError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import fingerprint

Capture = pytest.CaptureFixture[str]


def test_a_run_has_its_images_its_manifest_and_its_plan(tmp_path: Path) -> None:
    draw(tmp_path / "data")
    context = prepared(tmp_path)
    assert {split: len(context.manifest.select(split).samples) for split in ("train", "valid", "test")} == {
        "train": 15,
        "valid": 6,
        "test": 6,
    }
    assert context.images("valid")[0:6].shape == (6, 32, 32, 3)
    written = manifest.read_csv(context.run.manifest.read_text(), "manifest.csv")
    assert written == context.manifest
    assert config.parse(context.run.recipe.read_text(), "recipe.toml") == context.recipe
    environment = json.loads(context.run.environment.read_text())
    assert {"command", "python", "threads", "keras", "platform", "machine"} <= set(environment)


def test_images_are_in_the_order_of_their_samples(tmp_path: Path) -> None:
    draw(tmp_path / "data")
    context = prepared(tmp_path)
    for split in ("train", "valid", "test"):
        for image, sample in zip(
            context.images(split)[0:99], context.manifest.select(split).samples, strict=True
        ):
            row = context.manifest.samples.index(sample)
            np.testing.assert_array_equal(image, context.decoded.images[row])


def test_missing_parts_are_split_off_once_and_the_same_again(tmp_path: Path) -> None:
    draw(tmp_path / "data", splits=("train",))
    context = prepared(tmp_path)
    found = Counter((sample.split, sample.label) for sample in context.manifest.samples)
    assert set(found) == {(split, name) for split in ("train", "valid", "test") for name in CLASSES}
    assert prepared(tmp_path).manifest == context.manifest


BALANCED = RECIPE.replace("class_weights = true", 'class_weights = true\nbalance = "group"')


@pytest.mark.parametrize(("keep_together", "reason"), [("found", ";"), ("given", " (names are ignored: ")])
def test_balance_by_group_without_groups_is_an_error_before_anything_is_trained(
    tmp_path: Path, keep_together: str, reason: str
) -> None:
    draw(tmp_path / "data")
    text = f'{BALANCED}\n[splitting]\nkeep_together = "{keep_together}"'
    with pytest.raises(RecipeError) as caught:
        prepared(tmp_path, text)
    said = f'balance = "group" of custom, found none in 15 training images{reason}'
    assert said in str(caught.value)
    assert len(str(caught.value)) <= 300
    assert not (tmp_path / "run" / "manifest.csv").exists()


def test_balance_by_group_takes_the_groups_that_file_names_tell(tmp_path: Path) -> None:
    _, patients = draw_patients(tmp_path, in_names=True)
    context = prepared(tmp_path, BALANCED)
    found: dict[str, set[str]] = {}
    for sample in context.manifest.samples:
        found.setdefault(sample.group, set()).add(patients[sample.path])
    assert all(group.startswith("name:") for group in found)
    assert sorted(map(len, found.values())) == [1] * len(set(patients.values()))


def test_16_bit_grey_has_the_depth_of_the_data_in_training_and_prediction(
    tmp_path: Path, capsys: Capture
) -> None:
    draw(tmp_path / "data")
    plain = prepared(tmp_path)
    (tmp_path / "run").rename(tmp_path / "plain")
    deepen(tmp_path / "data", 16)
    context = prepared(tmp_path, console=Console())
    assert "16-bit grey is read with 12 bits" in capsys.readouterr().err
    assert context.recipe.image.depth == 12
    np.testing.assert_array_equal(context.decoded.images, plain.decoded.images)
    assert config.load(str(context.run.recipe)) == context.recipe
    for sample, image in zip(context.manifest.samples, context.decoded.images, strict=True):
        np.testing.assert_array_equal(read_input(sample.path, context.recipe.image), image)
    assert prepared(tmp_path).recipe == context.recipe  # goes on, and also with its own recipe
    assert prepared(tmp_path, context.run.recipe.read_text()).recipe == context.recipe
    fingerprint.require_begun_with(
        context.run, manifest.DataSource(tmp_path / "data"), config.parse(RECIPE, "r")
    )
    with pytest.raises(RunFolderError, match=r"setting image\.depth changed from 12 to 16"):
        prepared(tmp_path, RECIPE.replace("size = 32", "size = 32\ndepth = 16"))


def test_a_test_image_beyond_the_depth_of_the_others_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "data")
    deepen(tmp_path / "data", 16)
    deepen(tmp_path / "data", 4, "test/bar")
    with pytest.raises(DataError, match="2 of 27 images cannot be read") as caught:
        prepared(tmp_path)
    assert "more than the 12 bits of the training images; export it as they were" in caught.value.details[0]
    assert prepared(tmp_path, RECIPE.replace("size = 32", "size = 32\ndepth = 14")).recipe.image.depth == 14


def test_a_run_of_8_bits_has_no_depth_and_goes_on_if_it_was_begun_before_there_was_one(
    tmp_path: Path,
) -> None:
    draw(tmp_path / "data")
    context = prepared(tmp_path)
    assert context.recipe.image.depth == "auto"
    assert "image.depth" not in json.loads(context.run.fingerprint.read_text())["settings"]


def test_of_many_notes_the_first_are_printed(tmp_path: Path, capsys: Capture) -> None:
    draw(tmp_path / "data")
    deepen(tmp_path / "data", 1)
    prepared(tmp_path, RECIPE.replace("size = 32", "size = 32\ndepth = 16"), console=Console())
    lines = capsys.readouterr().err.splitlines()
    assert sum("loses most of its grey levels" in line for line in lines) == 20
    assert "the first 20 of 27 notes; the audit counts them by kind:" in lines


def test_folders_of_other_names_than_their_class_are_shown_in_lines_that_fit(
    tmp_path: Path, capsys: Capture
) -> None:
    draw(tmp_path / "data")
    for split in ("train", "valid"):
        (tmp_path / f"data/{split}/bar").rename(tmp_path / f"data/{split}/bar_{'left' * 40}")
    prepared(tmp_path, console=Console())
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80
    begin, end = lines.index("Classes, and their folders of other names:"), lines.index("  disc")
    assert lines[begin + 1] == "  bar"
    folders = "".join(line.strip() for line in lines[begin + 2 : end])
    assert folders == f"train, valid: bar_{'left' * 40}"
    assert lines[end + 1] == "  noise"


def test_folders_of_the_names_of_their_classes_are_not_listed(tmp_path: Path, capsys: Capture) -> None:
    draw(tmp_path / "data")
    prepared(tmp_path, console=Console())
    assert "Classes" not in capsys.readouterr().err


def test_bad_files_are_named_all_at_once_or_left_out(tmp_path: Path, capsys: Capture) -> None:
    draw(tmp_path / "data")
    for name in ("train/bar/bar0.png", "valid/disc/disc1.png"):
        (tmp_path / "data" / name).write_bytes(b"no image")
    with pytest.raises(DataError, match="2 of 27 images cannot be read") as caught:
        prepared(tmp_path)
    assert len(caught.value.details) == 2
    assert not RunFolder(tmp_path / "run").fingerprint.exists()
    context = prepared(tmp_path, skip_bad=True, console=Console())
    assert len(context.manifest.samples) == 25
    said = capsys.readouterr().err
    assert said.count("left out: ") == 2
    assert "bar0.png" in said


def test_a_signal_stops_the_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "data")

    def stop() -> None:
        raise Interrupted("stopped")

    monkeypatch.setattr(progress, "stop_if_asked", stop)
    with pytest.raises(Interrupted):
        prepared(tmp_path)
    left = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert not [name for name in left if not name.startswith(".turn")]


@pytest.mark.parametrize(
    "wrong", [('"tiny"', '"alexnet"'), ('weights = "none"', 'weights = "nowhere.h5"')], ids=str
)
def test_a_wrong_name_in_a_recipe_leaves_the_folder_free_for_the_right_one(
    tmp_path: Path, wrong: tuple[str, str]
) -> None:
    draw(tmp_path / "data")
    with pytest.raises((RecipeError, ModelError), match="expected"):
        prepared(tmp_path, text=RECIPE.replace(*wrong))
    assert not (tmp_path / "run" / "recipe.toml").exists()
    prepared(tmp_path)


def test_bad_data_is_found_before_keras_is_loaded() -> None:
    script = (
        "import sys, tumorboard.workflows.train; sys.exit(bool({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
