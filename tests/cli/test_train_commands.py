"""What gets which answer: one line, an exit code, nothing lost."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data.pictures import grey_png, plant
from tests.small_runs import CLASSES, RECIPE, add_tiny_backbone, draw
from tumorboard.cli import train_commands as command
from tumorboard.cli.main import main
from tumorboard.cli.options import program
from tumorboard.errors import Interrupted, TumorboardError
from tumorboard.models.backbones import BACKBONES
from tumorboard.run_folder import RunFolder

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module", autouse=True)
def tiny_backbone() -> Iterator[None]:
    add_tiny_backbone()
    yield
    del BACKBONES["tiny"]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    draw(tmp_path / "data")
    return tmp_path


def run(study: Path, *flags: object, data: object = None, recipe: object = None) -> int:
    chosen = ("--recipe", recipe or study / "recipe.toml")
    arguments = ("train", data or study / "data", "--out", study / "run", "--quiet", *chosen, *flags)
    try:
        return main(list(map(str, arguments)))
    except SystemExit as left:
        return int(left.code or 0)


def refused(capsys: Capture, code: int, found: int, *said: str) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    line, *details = captured.err.splitlines()
    assert line.startswith("tumorboard: ")
    assert len(line) <= len("tumorboard: ") + 300
    for text in said:
        assert text in line
    assert all(detail.startswith("  ") for detail in details)
    assert found == code, line
    return captured.err


def empty(data: Path) -> None:
    for path in sorted(data.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def only_classes(*kept: str) -> Callable[[Path], None]:
    def change(data: Path) -> None:
        for folder in data.glob("*/*"):
            if folder.name not in kept:
                empty(folder)
                folder.rmdir()

    return change


def one_image_of_a_class(data: Path) -> None:
    for number in range(1, 5):
        (data / f"train/bar/bar{number}.png").unlink()


def nothing_readable(data: Path) -> None:
    for path in data.rglob("*.png"):
        path.write_bytes(b"no image")


def unknown_parts(data: Path) -> None:
    (data / "valid").rename(data / "holdout")


def all_parts_unknown(data: Path) -> None:
    for name in ("train", "valid", "test"):
        (data / name).rename(data / f"{name}-2020")


def unmatched_class(data: Path) -> None:
    (data / "test/bar").rename(data / "test/something")


DATA: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "empty": (empty, ("expected", "data", "class")),
    "one class": (only_classes("bar"), ("expected two classes", "found 'bar'", "add another")),
    "a class with one image": (one_image_of_a_class, ("expected 2 images or more", "found 1 of 'bar'")),
    "no readable image": (nothing_readable, ("27 of 27 images cannot be read", "--skip-bad")),
    "an unknown part": (unknown_parts, ("train, valid and test", "'holdout'", "rename")),
    "no known part": (all_parts_unknown, ("train, valid and test", "'test-2020'", "which are the classes")),
    "a class that matches none": (unmatched_class, ("--class-map",)),
}


@pytest.mark.parametrize(("change", "said"), DATA.values(), ids=DATA)
def test_data_that_cannot_be_used_ends_with_3(
    study: Path, capsys: Capture, change: Callable[[Path], None], said: tuple[str, ...]
) -> None:
    change(study / "data")
    refused(capsys, 3, run(study), *said)
    assert not (study / "run/models").exists()


def test_a_folder_that_does_not_exist_ends_with_3(study: Path, capsys: Capture) -> None:
    refused(capsys, 3, run(study, data=study / "nowhere"), "nowhere", "check the path")


def test_nothing_readable_ends_with_3_even_if_bad_files_may_be_skipped(study: Path, capsys: Capture) -> None:
    nothing_readable(study / "data")
    refused(capsys, 3, run(study, "--skip-bad"), "found none")


def test_every_bad_file_is_named(study: Path, capsys: Capture) -> None:
    bad = ["train/bar/bar0.png", "test/disc/disc1.png", "valid/noise/noise1.png"]
    for name in bad:
        (study / "data" / name).write_bytes(b"no image")
    text = refused(capsys, 3, run(study), "3 of 27 images cannot be read")
    assert all(name in text for name in bad)


def recipe_of(old: str, new: str) -> str:
    assert old in RECIPE
    return RECIPE.replace(old, new)


SETTINGS = {
    "an unknown key": (recipe_of("batch = 8", "bacth = 8"), ("unknown key", "bacth", "known here: epochs")),
    "an unknown model": (
        recipe_of('form = "mean_dense"', 'form = "mean_dense"\nmembers = ["custom", "forest"]'),
        ("'forest' is not one of the models",),
    ),
    "an unknown kind": (recipe_of('kind = "custom"', 'kind = "forest"'), ("forest", "custom")),
    "an unknown backbone": (recipe_of('"tiny"', '"alexnet"'), ("expected a backbone", "'alexnet'")),
    "no TOML": ("name = ", ("not valid TOML",)),
}


@pytest.mark.parametrize(("text", "said"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_do_not_fit_end_with_4(
    study: Path, capsys: Capture, text: str, said: tuple[str, ...]
) -> None:
    (study / "recipe.toml").write_text(text)
    refused(capsys, 4, run(study), *said)
    assert not (study / "run/state/custom.npz").exists()  # nothing was trained first


def test_an_unknown_recipe_ends_with_4_and_lists_the_known(study: Path, capsys: Capture) -> None:
    refused(capsys, 4, run(study, recipe="defautl"), "'defautl'", "default, demo, notebook")


def test_a_seed_below_0_ends_with_4(study: Path, capsys: Capture) -> None:
    refused(capsys, 4, run(study, "--seed", -1), "seed")


FLAGS = {
    "no command": [],
    "an unknown command": ["learn"],
    "no --out": ["train", "data"],
    "an unknown flag": ["train", "data", "--out", "run", "--epochs", "3"],
    "a seed that is no number": ["train", "data", "--out", "run", "--seed", "x"],
    "an unknown tracker": ["train", "data", "--out", "run", "--track", "wandb"],
}


@pytest.mark.parametrize("arguments", FLAGS.values(), ids=FLAGS)
def test_flags_that_do_not_fit_end_with_2(capsys: Capture, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    *usage, last = capsys.readouterr().err.splitlines()
    assert usage[0].startswith("usage: tumorboard")
    assert ": error: " in last


def test_tracking_a_repeated_study_ends_with_2(study: Path, capsys: Capture) -> None:
    refused(capsys, 2, run(study, "--track", "mlflow", "--seeds", 2), "expected one run with --track")


@pytest.mark.parametrize("flag", ["--class-map", "--merge"])
def test_a_list_of_classes_of_another_form_ends_with_2(study: Path, capsys: Capture, flag: str) -> None:
    refused(capsys, 2, run(study, flag, "bar,disc"), "expected NAME=A,B", "'bar,disc'")


def test_a_class_that_is_not_there_ends_with_3(study: Path, capsys: Capture) -> None:
    refused(capsys, 3, run(study, "--merge", "shape=bar,cube"), "--merge", "'cube'", "bar, disc, noise")


@pytest.mark.parametrize("content", [None, b"no weights", "another network"], ids=str)
def test_weights_that_do_not_fit_end_with_5(
    study: Path, capsys: Capture, content: bytes | str | None
) -> None:
    file = study / "other.weights.h5"
    if isinstance(content, bytes):
        file.write_bytes(content)
    if content == "another network":
        import keras

        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(file)
    refused(capsys, 5, run(study, "--weights", file), "other.weights.h5", "expected")


def test_a_run_folder_of_other_data_or_settings_ends_with_6(study: Path, capsys: Capture) -> None:
    text = recipe_of('optimizer = "adamw"\nschedule = "one-cycle"', "learning_rate = 1e30")
    (study / "recipe.toml").write_text(text)
    assert run(study) == 7  # far enough to have a run folder
    capsys.readouterr()
    plant(study / "data", {"train/bar/more.png": grey_png(99)})
    text = refused(capsys, 6, run(study, "--seed", 8), "was begun with other data or settings", "--out")
    assert "  file train/bar/more.png added\n" in text
    assert "  setting seed changed from 3 to 8\n" in text


def test_a_run_folder_in_use_ends_with_6(study: Path, capsys: Capture) -> None:
    from tumorboard import run_folder

    with run_folder.locked(RunFolder(study / "run")):
        refused(capsys, 6, run(study), f"in use by process {os.getpid()} on", "choose another --out")


def test_a_folder_of_other_files_ends_with_6(study: Path, capsys: Capture) -> None:
    plant(study / "run", {"letter.txt": b"mine"})
    refused(capsys, 6, run(study), "found other files there")
    assert [path.name for path in (study / "run").iterdir()] == ["letter.txt"]


def test_a_loss_that_is_no_number_ends_with_7(study: Path, capsys: Capture) -> None:
    text = recipe_of('optimizer = "adamw"\nschedule = "one-cycle"', "learning_rate = 1e30")
    (study / "recipe.toml").write_text(text)
    refused(capsys, 7, run(study), "no longer a finite number", "lower training.learning_rate")
    assert not (study / "run/metrics.json").exists()


def test_memory_that_runs_out_ends_with_7(study: Path, capsys: Capture, monkeypatch: Patch) -> None:
    from tumorboard.training.batches import Batches

    def starve(self: Batches, index: int) -> None:
        raise MemoryError

    monkeypatch.setattr(Batches, "__getitem__", starve)
    refused(capsys, 7, run(study), "memory ran out", "set training.batch = 4")


@pytest.mark.parametrize(
    ("fault", "operation"),
    [(errno.ENOSPC, 1), (errno.EDQUOT, 2), (errno.EROFS, 3), (errno.EACCES, 5), (errno.ENOSPC, 9)],
)
def test_a_disk_that_refuses_ends_with_8(
    study: Path, capsys: Capture, monkeypatch: Patch, fault: int, operation: int
) -> None:
    replace, done = os.replace, []

    def fail(*args: Any) -> None:
        done.append(args)
        if len(done) >= operation:
            raise OSError(fault, os.strerror(fault))
        replace(*args)

    monkeypatch.setattr(os, "replace", fail)
    reason = "MB free" if fault in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
    refused(capsys, 8, run(study), "cannot write", reason, "what was finished is kept")
    assert not list((study / "run").rglob("*.writing*"))


@pytest.mark.parametrize("name", ["a" * 300, "a\nb\nc"], ids=["too long", "of several lines"])
def test_strange_names_of_the_run_folder_make_no_traceback(study: Path, capsys: Capture, name: str) -> None:
    empty(study / "data")
    code = main(
        ["train", str(study / "data"), "--out", str(study / name), "--recipe", str(study / "recipe.toml")]
    )
    refused(capsys, 8 if len(name) > 255 else 3, code)


def test_interruption_ends_with_its_code_and_one_line(
    study: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    for number, code in ((2, 130), (15, 143)):

        def stop(number: int = number) -> None:
            raise Interrupted("stopped by a signal; repeat the same command", number)

        monkeypatch.setattr("tumorboard.progress.stop_if_asked", stop)
        refused(capsys, code, run(study), "repeat the same command")


def test_ctrl_c_before_a_run_begins_is_no_traceback_either(
    study: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tumorboard.workflows.train.train", stop)
    refused(capsys, 130, run(study), "stopped by SIGINT")


def test_flags_reach_the_run(study: Path, monkeypatch: Patch, capsys: Capture) -> None:
    calls: list[Any] = []
    done = RunFolder(study / "done")
    plant(done.root, {"summary.txt": b"In short\n", "metrics.json": b'{"seed": 7}'})

    def train(*args: Any, **options: Any) -> RunFolder:
        calls.append((args, options))
        return done

    monkeypatch.setattr("tumorboard.workflows.train.train", train)
    flags = ["--backbone", "resnet50", "--weights", "none", "--seed", "7", "--skip-bad"]
    flags += ["--class-map", "bar=a,b", "--merge", "shape=bar,disc", "--merge", "other=noise,more"]
    plant(study, {"list.txt": b"train/bar/0.png\n# 1.png\n"})
    assert run(study, *flags, "--exclude", str(study / "list.txt")) == 0
    ((data, out, recipe), _options) = calls[0]
    assert (data.path, out) == (study / "data", study / "run")
    chosen = recipe.models["pretrained"]
    assert (chosen.backbone, chosen.weights, recipe.seed) == ("resnet50", "none", 7)
    assert data.skip_bad is True
    assert data.exclude == ["train/bar/0.png", "# 1.png"]
    assert data.class_map == {"bar": ("a", "b")}
    assert data.merge == {"shape": ("bar", "disc"), "other": ("noise", "more")}
    assert capsys.readouterr().out == f"In short\nReport: {done.report}\nResults: {done.root}\n"
    assert run(study, "--json") == 0
    written = {"results": str(done.root), "report": str(done.report)}
    assert json.loads(capsys.readouterr().out) == {**written, "seed": 7}


def test_a_kind_of_error_decides_the_exit_code_and_details_are_indented(
    study: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    for kind in TumorboardError.__subclasses__():

        def fail(options: Any, kind: type[TumorboardError] = kind) -> None:
            error = kind("expected a, found b; do c")
            error.details = ("one", "two")
            raise error

        monkeypatch.setattr(command, "_train", fail)
        code = run(study)
        assert capsys.readouterr().err == "tumorboard: expected a, found b; do c\n  one\n  two\n"
        assert code == kind.exit_code


def test_classes_of_the_data_are_those_of_the_drawings() -> None:
    assert sorted(CLASSES) == list(CLASSES)  # what the tables above take for granted


@pytest.mark.parametrize(
    ("flags", "data", "out"),
    [([], "demo-data", "demo-run"), (["--data", "images", "--out", "there"], "images", "there")],
    ids=["by default", "as told"],
)
def test_demo_draws_and_runs_where_it_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    data: str,
    out: str,
) -> None:
    done = RunFolder(plant(tmp_path / "done", {"summary.txt": b"In short\n", "metrics.json": b"{}"}))
    calls: list[Any] = []

    def demo(*args: Any) -> RunFolder:
        calls.append(args[:2])
        return done

    monkeypatch.setattr("tumorboard.workflows.datasets.demo", demo)
    assert main(["demo", *flags]) == 0
    assert calls == [(Path(data), Path(out))]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"Results: {done.root}"
    steps = [line.strip() for line in lines[lines.index("Next:") + 1 :]][:3]
    assert steps[0].endswith(f" serve {out}")
    assert steps[1].endswith(f" predict {out} {data}/test/normal --out predictions.csv")
    assert steps[2].endswith(f" audit {data}")
    assert len(lines) == len(["In short", "Next:", *steps, "Report: ", "Results: "])


@pytest.mark.parametrize(
    ("started", "found", "typed"),
    [
        (".venv/bin/tumorboard", None, ".venv/bin/tumorboard"),
        ("my env/bin/tumorboard", "/usr/bin/tumorboard", "'my env/bin/tumorboard'"),
        ("/usr/bin/tumorboard", "/usr/bin/tumorboard", "tumorboard"),
        ("src/tumorboard/__main__.py", None, "python -m tumorboard"),
    ],
)
def test_the_program_is_named_as_it_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, started: str, found: str | None, typed: str
) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    monkeypatch.setattr(sys, "executable", "python")
    monkeypatch.setattr(shutil, "which", lambda name: found)
    assert program() == typed
