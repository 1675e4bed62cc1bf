"""A run folder begun with other data or settings is refused: T7 of the hazards. Nothing here needs Keras."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.small_runs import RECIPE, draw, prepared
from tumorboard import config
from tumorboard.data.manifest import DataSource, load
from tumorboard.errors import RunFolderError
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import fingerprint

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("begun")
    draw(root / "data")
    prepared(root)
    return root


@pytest.fixture
def study(begun: Path, tmp_path: Path) -> Path:
    return shutil.copytree(begun, tmp_path / "study")


def content(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def refused(study: Path, named: list[str], **options: object) -> None:
    before = content(study / "run")
    with pytest.raises(RunFolderError) as caught:
        prepared(study, **options)
    message = str(caught.value)
    assert "was begun with other data or settings" in message
    assert "choose another --out, or repeat the command as it was" in message
    assert len(message) <= 300
    assert named == list(caught.value.details)
    assert named[0] in message
    assert content(study / "run") == before


def add_file(data: Path) -> None:
    shutil.copy(data / "train/bar/bar0.png", data / "train/bar/more.png")


def remove_file(data: Path) -> None:
    (data / "train/bar/bar0.png").unlink()


def edit_file(data: Path) -> None:
    shutil.copy(data / "train/bar/bar1.png", data / "test/bar/bar0.png")


def rename_file(data: Path) -> None:
    (data / "train/bar/bar0.png").rename(data / "train/bar/first.png")


def move_to_another_part(data: Path) -> None:
    (data / "train/bar/bar4.png").rename(data / "valid/bar/bar4.png")


def move_to_another_class(data: Path) -> None:
    (data / "train/bar/bar4.png").rename(data / "train/disc/bar4.png")


def rename_class(data: Path) -> None:
    for folder in data.glob("*/noise"):
        folder.rename(folder.with_name("static"))


def _noise(name: str, change: str) -> list[str]:
    counts = {"test": 2, "train": 5, "valid": 2}
    return [f"file {split}/{name}/noise{i}.png {change}" for split, n in counts.items() for i in range(n)]


FILES = [
    (add_file, ["file train/bar/more.png added"]),
    (remove_file, ["file train/bar/bar0.png removed"]),
    (edit_file, ["file test/bar/bar0.png changed (content)"]),
    (rename_file, ["file train/bar/bar0.png removed", "file train/bar/first.png added"]),
    (move_to_another_part, ["file train/bar/bar4.png removed", "file valid/bar/bar4.png added"]),
    (move_to_another_class, ["file train/bar/bar4.png removed", "file train/disc/bar4.png added"]),
    (rename_class, sorted(_noise("noise", "removed") + _noise("static", "added"))),
]


@pytest.mark.parametrize(("change", "named"), FILES, ids=[change.__name__ for change, _ in FILES])
def test_other_data_is_refused_and_every_difference_named(
    study: Path, change: Callable[[Path], None], named: list[str]
) -> None:
    change(study / "data")
    refused(study, named)


SETTINGS = {
    "seed": (("seed = 3", "seed = 4"), ["setting seed changed from 3 to 4"]),
    "image size": (("size = 32", "size = 48"), ["setting image.size changed from 32 to 48"]),
    "nested": (
        ("patience = 1", "patience = 2"),
        ["setting ensemble.training.patience changed from 1 to 2"],
    ),
    "backbone": (
        ('backbone = "tiny"', 'backbone = "resnet50"'),
        ["setting models.pretrained.backbone changed from tiny to resnet50"],
    ),
    "two at once": (
        ('name = "small"\nseed = 3', 'name = "other"\nseed = 9'),
        ["setting name changed from small to other", "setting seed changed from 3 to 9"],
    ),
}


@pytest.mark.parametrize(("edit", "named"), SETTINGS.values(), ids=SETTINGS)
def test_other_settings_are_refused_and_every_difference_named(
    study: Path, edit: tuple[str, str], named: list[str]
) -> None:
    assert edit[0] in RECIPE
    refused(study, named, text=RECIPE.replace(*edit))


def test_another_model_is_refused(study: Path) -> None:
    with pytest.raises(RunFolderError) as caught:
        prepared(study, text=RECIPE + '\n[models.more]\nkind = "custom"\n')
    assert "setting models.more.kind added" in caught.value.details


def test_another_question_is_refused(study: Path) -> None:
    with pytest.raises(RunFolderError) as caught:
        prepared(study, merge={"shape": ("bar", "disc")})
    assert "file train/bar/bar0.png changed (class)" in caught.value.details
    assert not [line for line in caught.value.details if "noise" in line]


@pytest.mark.parametrize("package", ["keras", "numpy", "pillow"])
def test_another_version_is_refused(study: Path, monkeypatch: Patch, package: str) -> None:
    was = version(package)

    def other(name: str) -> str:
        return "99.0" if name == package else version(name)

    monkeypatch.setattr(fingerprint, "version", other)
    refused(study, [f"{package} changed from {was} to 99.0"])


def test_a_package_that_is_gone_is_refused(study: Path, monkeypatch: Patch) -> None:
    def gone(name: str) -> str:
        if name == "keras":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(fingerprint, "version", gone)
    refused(study, ["keras removed"])


def test_other_threads_or_another_backend_are_refused(study: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr("tumorboard.backend.name", lambda: "jax")
    monkeypatch.setattr(fingerprint, "threads", lambda recipe: 99)
    with pytest.raises(RunFolderError) as caught:
        prepared(study)
    # Only the packages of the backend in use are recorded: installing another changes no bit.
    first, *packages, last = caught.value.details
    assert first == "backend changed from tensorflow to jax"
    assert set(packages) <= {"jax added", "jaxlib added", "tensorflow removed", "tensorflow-cpu removed"}
    assert {line.split()[0] for line in packages} & {"tensorflow", "tensorflow-cpu"}
    assert last.startswith("threads changed from ")
    assert last.endswith(" to 99")


def test_the_same_again_is_accepted_wherever_the_data_has_moved(study: Path) -> None:
    before = (study / "run/state/fingerprint.json").read_bytes()
    (study / "data").rename(study / "elsewhere")
    (study / "data").symlink_to(study / "elsewhere")
    prepared(study)
    assert (study / "run/state/fingerprint.json").read_bytes() == before


def test_settings_that_change_nothing_are_not_recorded_so_that_earlier_runs_go_on(begun: Path) -> None:
    samples = load(begun / "data").manifest
    recipe = config.load("demo")
    settings = fingerprint.take(recipe, samples)["settings"]
    assert not {name for name in settings if name.endswith(("balance", "frames", "depth"))}
    training = recipe.chained.training.model_copy(update={"balance": "group"})
    chained = recipe.chained.model_copy(update={"training": training})
    settings = fingerprint.take(recipe.model_copy(update={"chained": chained}), samples)["settings"]
    assert settings["chained.training.balance"] == "group"


@pytest.mark.parametrize("name", ["x.nii", "X.NII.GZ#2"])
def test_what_reads_nifti_is_recorded_where_there_is_nifti(begun: Path, name: str) -> None:
    samples, recipe = load(begun / "data").manifest, config.load("demo")
    assert "nibabel" not in fingerprint.take(recipe, samples)["environment"]
    scan = replace(samples.samples[0], path=begun / name)
    found = fingerprint.take(recipe, replace(samples, samples=(*samples.samples, scan)))
    assert found["environment"]["nibabel"] == version("nibabel")


def test_models_without_a_record_of_what_they_were_made_of_are_refused(study: Path) -> None:
    RunFolder(study / "run").fingerprint.unlink()
    prepared(study)  # nothing is made yet, so nothing can be taken for something else
    RunFolder(study / "run").fingerprint.unlink()
    (study / "run/models").mkdir()
    with pytest.raises(
        RunFolderError, match="found nothing readable; restore the file or choose another --out"
    ):
        prepared(study)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": 1}'])
def test_a_damaged_record_is_refused_in_one_line(study: Path, text: str) -> None:
    RunFolder(study / "run").fingerprint.write_text(text)
    with pytest.raises(RunFolderError, match=r"fingerprint\.json, found nothing readable"):
        prepared(study)


def test_long_names_leave_room_for_the_advice(study: Path) -> None:
    shutil.copy(study / "data/train/bar/bar0.png", study / "data/train/bar" / f"{'x' * 240}.png")
    with pytest.raises(RunFolderError) as caught:
        prepared(study)
    assert "or repeat the command as it was" in str(caught.value)


def test_recipe_asks_for_threads_or_takes_what_there_is() -> None:
    assert fingerprint.threads(config.parse("threads = 3\n" + RECIPE, "test")) == 3
    assert fingerprint.threads(config.parse(RECIPE, "test")) >= 1


def repeated(root: Path, **options: object) -> str:
    return str(json.loads(prepared(root, **options).run.environment.read_text())["command"])


@pytest.mark.parametrize("program", ["/usr/bin/tumorboard", "/lib/tumorboard/__main__.py"])
def test_a_run_of_the_command_line_records_its_command(begun: Path, monkeypatch: Patch, program: str) -> None:
    monkeypatch.setattr(sys, "argv", [program, "train", "my scans", "--out", "run"])
    assert repeated(begun) == "tumorboard train 'my scans' --out run"


@pytest.mark.parametrize("program", ["/lib/ipykernel_launcher.py", "/lib/pytest/__main__.py", "study.py", ""])
@pytest.mark.parametrize("options", [{}, {"skip_bad": True, "merge": {"shape": ("bar", "disc")}}])
def test_a_run_of_a_notebook_or_a_script_records_the_call_that_repeats_it(
    tmp_path: Path, monkeypatch: Patch, program: str, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "-f", "kernel.json"])
    draw(tmp_path / "data")
    calls: list[tuple[Any, ...]] = []
    package = SimpleNamespace(DataSource=DataSource, train=lambda *arguments: calls.append(arguments))
    exec(repeated(tmp_path, **options), {"tumorboard": package})  # noqa: S102
    [(data, out, recipe)] = calls
    assert DataSource.of(data) == DataSource(tmp_path / "data", **options)
    assert out == str(tmp_path / "run")
    assert config.load(recipe) == config.parse(RECIPE, "test")
