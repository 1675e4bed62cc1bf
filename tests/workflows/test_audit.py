"""The audit of a data set, alone and inside a training, and what a run does with its findings."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.audit.facts import scene
from tests.data.pictures import plant, saved
from tests.small_runs import draw, prepared
from tumorboard import config, storage
from tumorboard.audit import dataset_facts
from tumorboard.cli.main import main
from tumorboard.data import image_cache, synthetic
from tumorboard.data.image_cache import Decoded
from tumorboard.data.image_reader import read_image
from tumorboard.data.manifest import DataSource, Manifest, Sample, load
from tumorboard.errors import DataError, UsageError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import read_state
from tumorboard.workflows import run_plan
from tumorboard.workflows.audit import (
    LEAK_CHECK,
    audit_data,
    audit_findings,
    audit_manifest,
    audit_run,
    shortcut_classes,
    subsets_without_shortcuts,
)
from tumorboard.workflows.run_context import RunContext
from tumorboard.workflows.train import train


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.draw(tmp_path_factory.mktemp("demo") / "data", images_per_class=20)


@pytest.fixture(scope="module")
def out(demo: Path) -> Path:
    folder = demo.parent / "audit"
    audit_data(demo, out=folder)
    return folder


def _files(out: Path, code: str) -> list[list[str]]:
    findings = json.loads((out / "audit.json").read_text("utf-8"))["findings"]
    return next((one["files"] for one in findings if one["code"] == code), [])


def test_what_is_planted_in_the_demo_is_found(out: Path) -> None:
    planted = synthetic.PLANTED
    assert [planted.damaged in line for [line] in _files(out, "TB101")] == [True]
    assert _files(out, "TB102") == [[planted.misnamed]]
    assert _files(out, "TB403") == [sorted(planted.conflict)]
    pairs = {tuple(sorted(pair)) for pair in planted.duplicates}
    assert pairs <= {tuple(sorted(group)) for group in _files(out, "TB401")}


def test_progress_is_recorded_for_the_page_alone(demo: Path, out: Path, tmp_path: Path) -> None:
    assert not (out / "state").exists()
    run = RunFolder(tmp_path / "begun")
    storage.write_json(run.job, {})
    audit_data(demo, out=run.root, mute=["TB410"])
    assert read_state(run).status == "finished"
    assert [phase["title"] for phase in read_state(run).progress["phases"]][:1] == ["auditing"]


def test_twins_are_drawn_side_by_side(out: Path) -> None:
    drawn = {path.name for path in out.glob("*.png")}
    assert {"TB401.png", "TB403.png"} <= drawn
    with Image.open(out / "TB403.png") as sheet:
        assert sheet.width == 2 * 188 + 8


def test_reports_and_runs_among_the_images_change_nothing_but_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = synthetic.draw(tmp_path / "data", images_per_class=16)
    before = audit_data(data).report
    for _ in range(2):
        audit_data(data, out=data / "audit")
    audit_data(data, out=data)
    (data / "train" / "normal" / "Thumbs.db").touch()
    after = audit_data(data).report
    assert main(["audit", str(data), "--json"]) == 9
    note = dict(after.findings)["TB107"]
    assert note.title.startswith("10 files or folders left out as no input: .synthetic, TB401.png, ")
    assert [line for [line] in note.files][1:] == [
        f"{data}: TB401.png, TB402.png, TB403.png and 5 more (written by Tumorboard)",
        f"{data / 'train' / 'normal'}: Thumbs.db (left out by name)",
    ]
    assert "TB107" in {finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    others = [[pair for pair in of.findings if pair[0] != "TB107"] for of in (before, after)]
    assert others[0] == others[1]


def test_images_left_out_by_choice_are_a_note_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = synthetic.draw(tmp_path / "data", images_per_class=16)
    first, second = sorted(path.relative_to(data).as_posix() for path in data.glob("train/normal/*.png"))[:2]
    excluded = tmp_path / "exclude.csv"
    excluded.write_text(f"path,left out because of\n{first},TB401\n{second},\n", "utf-8")
    assert main(["audit", str(data), "--json", "--exclude", str(excluded)]) == 9
    content = json.loads(capsys.readouterr().out)
    notes = [finding for finding in content["findings"] if finding["code"] == "TB107"]
    assert [note["title"].partition(":")[0] for note in notes] == [
        "2 images left out by choice (--exclude)",
        "1 file or folder left out as no input",
    ]
    assert notes[0]["files"] == [[first], [second]]
    files = {
        name
        for finding in content["findings"]
        if finding not in notes
        for of in finding["files"]
        for name in of
    }
    assert files.isdisjoint({first, second})
    excluded.write_text("\n", "utf-8")
    assert main(["audit", str(data), "--exclude", str(excluded)]) == 3
    assert "found none; add their paths, or leave out --exclude" in capsys.readouterr().err


def test_a_bad_file_is_named_whole_in_every_form_of_the_report(tmp_path: Path) -> None:
    name = f"{'long name ' * 12}.png"
    data = draw(tmp_path / ("deep" * 20) / "data")
    (data / "train" / "bar" / name).write_bytes(b"x")
    (data / "train" / "bar" / f"empty {name}").touch()
    audit_data(data, out=tmp_path / "out")
    assert [path.partition(": ")[0] for [path] in _files(tmp_path / "out", "TB101")] == [
        str(data / "train" / "bar" / each) for each in (f"empty {name}", name)
    ]
    for page in ("results.md", "report.html"):
        text = (tmp_path / "out" / page).read_text("utf-8").replace("\\", "").replace("<wbr>", "")
        assert str(data / "train" / "bar" / name) in text


def test_the_data_is_only_read_and_twice_gives_the_same(demo: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in demo.rglob("*")}
    assert audit_data(demo).report == audit_data(demo).report
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in demo.rglob("*")} == before


def test_a_manifest_without_its_bad_files_gives_the_same_report(demo: Path) -> None:
    """As train calls it: bad files are known by their lines only."""
    loaded = load(demo)
    whole = audit_manifest(loaded.manifest, Console(quiet=True))
    bad = [line for code, finding in whole.findings if code == "TB101" for (line,) in finding.files]
    good = type(loaded.manifest).of(s for s in loaded.manifest.samples if s.id != synthetic.PLANTED.damaged)
    assert audit_manifest(good, Console(quiet=True), problems=bad) == whole


def test_thirty_planted_problems_are_named_and_no_good_file_is(tmp_path: Path) -> None:
    pictures = [saved(Image.fromarray(scene(i)), "PNG", compress_level=1) for i in range(1000)]
    files = {f"{'ab'[i % 2]}/{i:04d}.png": content for i, content in enumerate(pictures)}
    good = plant(tmp_path, files)
    names = [*_plant_bad_files(good / "a", pictures[0]), *_plant_bad_nodes(good / "b", good / "a")]
    assert len(names) == 30
    found = [
        line for code, one in audit_data(tmp_path).report.findings if code == "TB101" for (line,) in one.files
    ]
    unnamed = [name for name in names if not any(name in line for line in found)]
    assert unnamed == []
    assert len(found) == 30


def _plant_bad_files(folder: Path, png: bytes) -> list[str]:
    """Empty, of other formats under an image's name, damaged in several places."""
    starts = {
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "pdf": b"%PDF-1.7\n",
        "svg": b"<svg xmlns='x'/>",
        "gif": b"GIF89a" + b"\0" * 50,
        "fits": b"SIMPLE  =                    T",
        "html": b"<html>",
        "zip": b"PK\3\4" + b"\0" * 30,
        "text": b"label,path\n",
        "psd": b"8BPS\0\1" + b"\0" * 40,
        "ico": b"\0\0\1\0\1\0",
        "npy": b"\x93NUMPY\1\0",
        "pickle": b"\x80\x04K\x01.",
        "mp4": b"\0\0\0\x18ftypmp42",
        "elf": b"\x7fELF" + b"\0" * 40,
        "nifti": b"\x5c\1\0\0" + b"\0" * 400,
        "one": b"x",
    }
    damaged = {
        "empty": b"",
        "half": png[: len(png) // 2],
        "header": png[:30],
        "signature": png[:8],
        "tail": png[len(png) // 2 :],
        "zeros": b"\0" * 500,
        "flipped": png[:200] + bytes(255 - b for b in png[200:260]) + png[260:],
    }
    bad = {f"bad_{name}.png": content for name, content in {**starts, **damaged}.items()}
    plant(folder, bad)
    return list(bad)


def _plant_bad_nodes(folder: Path, other: Path) -> list[str]:
    """What is no regular file, or has no usable name."""
    (folder / "folder.png").mkdir()
    (folder / "dangling.png").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "again").symlink_to(other)
    os.mkfifo(folder / "pipe.png")
    (folder / "line\nbreak.png").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/latin\xe9.png")).write_bytes(b"x")
    return ["folder.png", "dangling.png", "loop.png", "again", "pipe.png", "break.png", "latin"]


def test_too_few_readable_images_are_an_error_that_names_the_bad_ones(tmp_path: Path) -> None:
    plant(tmp_path, {f"{c}/{i}.png": b"no image" for c in "ab" for i in range(3)})
    with pytest.raises(DataError) as error:
        audit_data(tmp_path)
    assert len(error.value.details) == 6


@pytest.mark.parametrize("wrong", [{"mute": ["TB1"]}, {"window": "bones"}])
def test_wrong_options_are_refused_before_anything_is_read(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        audit_data(tmp_path / "missing", **wrong)  # type: ignore[arg-type]


def test_a_hidden_frame_of_colour_is_found_on_real_files(tmp_path: Path) -> None:
    grey = np.repeat(scene(0)[..., np.newaxis], 3, axis=2)
    marked = grey.copy()
    marked[10:20, 10:20] = (255, 0, 0)
    looks = {"a/1": grey, "a/2": marked, "b/1": grey.swapaxes(0, 1), "b/2": grey[::-1]}
    pictures = {name: Image.fromarray(np.ascontiguousarray(look)) for name, look in looks.items()}
    plant(tmp_path, {f"{name}.png": saved(picture, "PNG") for name, picture in pictures.items()})
    found = dict(audit_data(tmp_path).report.findings)
    assert found["TB601"].files == (("a/2.png",),)
    assert found["TB406"].files[0][0].startswith("a/")


class _AuditedError(Exception):
    """Ends a training after its audit."""


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded; trainings end after the audit."""
    paths: list[Path] = []

    def counting(path: Path, settings: config.Image) -> object:
        paths.append(path)
        return read_image(path, settings)

    def audit_and_stop(*arguments: Any) -> None:
        audit_run(*arguments)
        raise _AuditedError

    for module in (image_cache, dataset_facts):
        monkeypatch.setattr(module, "read_image", counting)
    monkeypatch.setattr(run_plan, "audit_run", audit_and_stop)
    return paths


def test_train_decodes_each_file_once_and_its_audit_is_that_of_the_audit_alone(
    demo: Path, out: Path, tmp_path: Path, decoded: list[Path]
) -> None:
    with pytest.raises(_AuditedError):
        train(DataSource(demo, skip_bad=True), tmp_path / "run", "demo")
    assert sorted(decoded) == sorted(sample.path for sample in load(demo).manifest.samples)
    of_run, alone = (
        json.loads((folder / "audit.json").read_text("utf-8")) for folder in (tmp_path / "run", out)
    )
    assert "leak_meter.json" in of_run["not_applicable"].pop(LEAK_CHECK)  # train measures it at its end
    alone["passed"] = [code for code in alone["passed"] if code != LEAK_CHECK]
    alone["findings"] = [finding for finding in alone["findings"] if finding["code"] != LEAK_CHECK]
    assert of_run == alone


def test_a_resumed_training_without_audit_decodes_once_more_and_with_it_nothing(
    demo: Path, tmp_path: Path, decoded: list[Path]
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(_AuditedError):
        train(DataSource(demo, skip_bad=True), run.root, "demo")
    first = run.audit.read_text("utf-8")
    readable = len(decoded) - 1
    run.audit.unlink()
    decoded.clear()
    with pytest.raises(_AuditedError):
        train(DataSource(demo, skip_bad=True), run.root, "demo")
    assert (len(decoded), run.audit.read_text("utf-8")) == (readable, first)
    decoded.clear()
    with pytest.raises(_AuditedError):
        train(DataSource(demo, skip_bad=True), run.root, "demo")
    assert decoded == []


def audited(folder: Path, leaked: list[str], numbers: dict[str, float]) -> RunContext:
    """A context of six test images, two a class, whose audit said this."""
    names = ("cancer", "normal", "other")
    samples = [Sample(f"test/{n}/{i}.png", Path("x"), "test", n, "", "0") for n in names for i in (1, 2)]
    samples += [replace(one, id=one.id.replace("test", "train"), split="train") for one in samples]
    manifest, run = Manifest.of(samples), RunFolder(folder)
    finding = {"severity": "warning", "code": "TB501", "title": "t", "consequence": "c", "numbers": numbers}
    run.audit.write_text(json.dumps({"findings": [finding], "leaked": leaked}))
    return RunContext(run, config.load("demo"), manifest, Decoded(manifest, None, (), (), ()), Console(True))


def subsets(split: str, context: RunContext) -> dict[str, set[str]]:
    return subsets_without_shortcuts(context.run, context.manifest)[split]


def test_leaked_images_are_left_out_and_nothing_else(tmp_path: Path) -> None:
    found = subsets("test", audited(tmp_path, ["test/normal/1.png"], {}))
    assert list(found) == ["without near duplicates in train or validation"]
    left = found["without near duplicates in train or validation"]
    assert left == {
        *("test/cancer/1.png", "test/cancer/2.png", "test/normal/2.png"),
        *("test/other/1.png", "test/other/2.png"),
    }


def test_leaked_validation_images_are_left_out_of_validation_alone(tmp_path: Path) -> None:
    context = audited(tmp_path, ["valid/normal/1.png"], {})
    moved = [
        replace(one, id=one.id.replace("test", "valid"), split="valid")
        for one in context.manifest.select("test").samples
    ]
    context = replace(context, manifest=Manifest.of([*context.manifest.samples, *moved]))
    (left,) = subsets("valid", context).values()
    assert {sample.id for sample in moved} - left == {"valid/normal/1.png"}
    assert subsets("test", context) == {}


def test_without_leaks_there_is_nothing_to_score_again(tmp_path: Path) -> None:
    context = audited(tmp_path, [], {})
    assert (subsets("test", context), subsets("valid", context)) == ({}, {})


@pytest.mark.parametrize(
    ("sensitivity", "false_positive_rate", "told"),
    [(0.8, 0.1, True), (0.79, 0.1, False), (0.9, 0.11, False), (1.0, 0.0, True)],
)
def test_a_class_is_left_out_if_metadata_alone_give_it_away(
    tmp_path: Path, sensitivity: float, false_positive_rate: float, told: bool
) -> None:
    numbers = {
        "normal: sensitivity": sensitivity,
        "normal: false-positive rate": false_positive_rate,
        "other: sensitivity": 0.9,
    }
    found = subsets("test", audited(tmp_path, ["test/cancer/1.png"], numbers))
    rest = {"test/cancer/2.png", "test/other/1.png", "test/other/2.png"}
    assert (found.get("also without normal, which file metadata reveal") == rest) is told


def test_findings_come_with_what_they_mean(tmp_path: Path) -> None:
    (finding,) = audit_findings(audited(tmp_path, [], {}).run)
    assert (finding.severity, finding.code, finding.title, finding.consequence) == (
        "warning",
        "TB501",
        "t",
        "c",
    )


def test_class_folders_that_differ_by_split_are_found_inside_a_training_too(tmp_path: Path) -> None:
    draw(tmp_path / "data")
    for folder in (tmp_path / "data" / "train").iterdir():
        folder.rename(folder.with_name(f"{folder.name}_left"))
    context = prepared(tmp_path)
    audit_run(context)
    assert "TB301" in {finding.code for finding in audit_findings(context.run)}


def test_shortcuts_are_the_classes_that_metadata_give_away_unless_none_would_be_left(tmp_path: Path) -> None:
    names = ("cancer", "normal", "other")
    numbers = {"normal: sensitivity": 0.9, "normal: false-positive rate": 0.0}
    assert shortcut_classes(audited(tmp_path, [], numbers).run, names) == ("normal",)
    every = {
        f"{n}: {what}": value
        for n in names
        for what, value in (("sensitivity", 1.0), ("false-positive rate", 0.0))
    }
    assert shortcut_classes(audited(tmp_path, [], every).run, names) == ()
