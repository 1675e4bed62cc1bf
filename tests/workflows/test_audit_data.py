import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.audit.facts import scene
from tests.data.pictures import plant, saved
from tumorboard.audit import dataset_facts
from tumorboard.data import image_cache, synthetic
from tumorboard.data.image_reader import read_image
from tumorboard.data.manifest import DataSource, load
from tumorboard.errors import DataError, UsageError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import report
from tumorboard.workflows.audit import audit, audit_data
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


def test_twins_are_drawn_side_by_side(out: Path) -> None:
    drawn = {path.name for path in out.glob("*.png")}
    assert {"TB401.png", "TB403.png"} <= drawn
    with Image.open(out / "TB403.png") as sheet:
        assert sheet.width == 2 * 188 + 8


def test_the_data_is_only_read_and_twice_gives_the_same(demo: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in demo.rglob("*")}
    assert audit_data(demo).report == audit_data(demo).report
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in demo.rglob("*")} == before


def test_a_manifest_without_its_bad_files_gives_the_same_report(demo: Path) -> None:
    """As train calls it: bad files are known by their lines only."""
    loaded = load(demo)
    whole = audit(loaded.manifest, Console(quiet=True))
    bad = [line for code, finding in whole.findings if code == "TB101" for (line,) in finding.files]
    good = type(loaded.manifest).of(s for s in loaded.manifest.samples if s.id != synthetic.PLANTED.damaged)
    assert audit(good, Console(quiet=True), problems=bad) == whole


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
    look = report.look

    def counting(path: Path, *, window: str = "") -> object:
        paths.append(path)
        return read_image(path, window=window)

    def look_and_stop(*arguments: object) -> None:
        look(*arguments)
        raise _AuditedError

    for module in (image_cache, dataset_facts):
        monkeypatch.setattr(module, "read_image", counting)
    monkeypatch.setattr(report, "look", look_and_stop)
    return paths


def test_train_decodes_each_file_once_and_its_audit_is_that_of_the_audit_alone(
    demo: Path, out: Path, tmp_path: Path, decoded: list[Path]
) -> None:
    with pytest.raises(_AuditedError):
        train(DataSource(demo, skip_bad=True), tmp_path / "run", "demo")
    assert sorted(decoded) == sorted(sample.path for sample in load(demo).manifest.samples)
    assert (tmp_path / "run" / "audit.json").read_text("utf-8") == (out / "audit.json").read_text("utf-8")


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
