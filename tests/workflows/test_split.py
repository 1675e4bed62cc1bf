"""`tumorboard split` on real files: what it writes, says and refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.audit.facts import Row, dataset, named, scene
from tests.data.pictures import grey_png, plant
from tumorboard import config
from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import NotApplicable
from tumorboard.audit.runner import CHECKS
from tumorboard.cli.main import main
from tumorboard.data import manifest
from tumorboard.data.manifest import DataSource
from tumorboard.data.splitting import assign_splits
from tumorboard.errors import DataError, UsageError
from tumorboard.workflows.prepare import tie
from tumorboard.workflows.split import split


def picture(number: int) -> Image.Image:
    """A smooth picture unlike that of any other number."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6), np.uint8))
    return coarse.resize((48, 48), Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes, 20 images each; in each an identical image and a near duplicate across the old splits."""
    for label, start in (("a", 0), ("b", 100)):
        for n in range(18):
            path = tmp_path / "data" / ("train", "valid", "test")[n % 3] / label / f"{label}{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(start + n).save(path)
        picture(start).save(tmp_path / "data" / "test" / label / f"copy of {label}0.png")
        brighter = picture(start + 1).point(lambda grey: 20 + 0.9 * grey)
        brighter.resize((60, 60)).save(tmp_path / "data" / "train" / label / f"near {label}1.png")
    return tmp_path / "data"


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_what_is_left_out_is_said(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(data, {"manifest.csv": b"path,label,split,group\n", "train/a/bad.png": b"x"})
    command = ["split", str(data), "--out", str(tmp_path / "new.csv"), "--skip-bad", "--json"]
    assert main(command) == 0
    shown = capsys.readouterr()
    left_out = json.loads(shown.out)["left_out"]
    assert ["bad.png" in left_out[0], left_out[1]] == [True, f"{data}: manifest.csv (written by Tumorboard)"]
    assert sum(line.startswith("left out: ") for line in shown.err.splitlines()) == 2


def test_splits_that_lack_a_class_are_made_anew(data: Path, tmp_path: Path) -> None:
    for image in (data / "valid" / "b").iterdir():
        image.unlink()
    (data / "valid" / "b").rmdir()
    with pytest.raises(DataError, match="tumorboard split"):
        manifest.load(data)
    done = split(data, tmp_path / "new.csv")
    assert all(count for counts in done.manifests[0].counts.values() for count in counts.values())


def by_name(file: Path) -> dict[str, dict[str, str]]:
    return {Path(row["path"]).name: row for row in rows(file)}


def test_duplicates_stay_together_and_training_reads_what_was_written(data: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*.png")}
    for seed in range(4):
        file = tmp_path / "splits" / f"{seed}.csv"
        done = split(data, file, seed=seed)
        found = by_name(file)
        for label in "ab":
            exact, near = found[f"{label}0.png"], found[f"{label}1.png"]
            assert [row["split"] for row in rows(file) if row["group"] == exact["group"]] == [
                exact["split"]
            ] * 2
            assert [row["split"] for row in rows(file) if row["group"] == near["group"]] == [
                near["split"]
            ] * 2
        loaded = manifest.load(file).manifest
        assert loaded.counts == done.manifests[0].counts
        assert {sample.path for sample in loaded.samples} == set(before)
    assert (done.tied.images, done.tied.components) == (40, 36)
    assert (done.tied.identical, done.tied.near_duplicates, done.tied.groups) == (2, 2, 0)
    assert {path: path.read_bytes() for path in data.rglob("*.png")} == before


def test_old_splits_and_names_of_files_do_not_matter(data: Path, tmp_path: Path) -> None:
    split(data, tmp_path / "one.csv")
    for path in sorted(data.rglob("*.png"), reverse=True):
        moved = tmp_path / "other" / "train" / path.parent.name / f"{path.name[::-1]}.png"
        moved.parent.mkdir(parents=True, exist_ok=True)
        moved.write_bytes(path.read_bytes())
    split(tmp_path / "other", tmp_path / "two.csv")
    one = {name: row["split"] for name, row in by_name(tmp_path / "one.csv").items()}
    # Identical images have one split, so reversed names are enough to compare.
    assert {name[:-4][::-1]: row["split"] for name, row in by_name(tmp_path / "two.csv").items()} == one


def test_a_group_and_its_duplicates_keep_one_name_that_names_nobody(data: Path, tmp_path: Path) -> None:
    paths = sorted(path for path in data.rglob("*.png"))
    patient = {"a0.png": "Jane", "a3.png": "Jane", "a5.png": "Joe"}
    lines = [
        f"{path.relative_to(tmp_path)},{path.parent.name},{patient.get(path.name, '')}" for path in paths
    ]
    source = tmp_path / "given.csv"
    source.write_text("path,label,group\n" + "\n".join(lines) + "\n")
    file = tmp_path / "new.csv"
    assert split(source, file).tied.groups == 2
    found = by_name(file)
    assert len({found[name]["group"] for name in ("a0.png", "a3.png", "copy of a0.png")} - {""}) == 1
    assert found["a5.png"]["group"]  # known, though alone
    assert not found["a7.png"]["group"]  # unknown, which must not be hidden
    assert "J" not in file.read_text()


def test_each_image_is_test_in_one_fold(data: Path, tmp_path: Path) -> None:
    done = split(data, tmp_path / "m.csv", folds=3, seed=1)
    assert [file.name for file in done.files] == ["m-fold1.csv", "m-fold2.csv", "m-fold3.csv"]
    tested = [row["path"] for file in done.files for row in rows(file) if row["split"] == "test"]
    assert sorted(tested) == sorted(row["path"] for row in rows(done.files[0]))
    for file in done.files:
        assert {row["split"] for row in rows(file)} == {"train", "valid", "test"}
    assert not (tmp_path / "m.csv").exists()


@pytest.mark.parametrize(
    "name", ["a, b.png", 'q"q.png', " lead.png", "é\u2028ü.png", "trail .png ", "#x.png"]
)
def test_weird_names_are_read_back(name: str, tmp_path: Path) -> None:
    names = [f"c{n}/{k}.png" for n in range(2) for k in range(4)] + [f"c0/ d, 'e'/{name}"]
    plant(tmp_path / "da,ta ", {one: grey_png(10 * n) for n, one in enumerate(names)})
    done = split(tmp_path / "da,ta ", tmp_path / "deep" / "er" / "m.csv")
    loaded = manifest.load(done.files[0])
    assert not loaded.problems
    assert {s.path for s in loaded.manifest.samples} == {tmp_path / "da,ta " / one for one in names}


def test_a_place_that_no_csv_can_name_is_refused(tmp_path: Path) -> None:
    plant(tmp_path / "li\nne", {f"c{n}/{k}.png": grey_png(40 * n + k) for n in range(2) for k in range(4)})
    with pytest.raises(DataError, match="the CSV cannot name an image from there"):
        split(tmp_path / "li\nne", tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


def test_nothing_is_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "m-fold2.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"new file as --out, found .*m-fold2\.csv"):
        split(data, tmp_path / "m.csv", folds=3)
    assert not (tmp_path / "m-fold1.csv").exists()
    with pytest.raises(UsageError, match="expected a new file"):
        split(data, tmp_path)
    assert (tmp_path / "m-fold2.csv").read_text() == "mine"


def test_nothing_is_written_among_the_images(data: Path) -> None:
    with pytest.raises(UsageError, match="among the images"):
        split(data, data / "train" / "m.csv")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 1}, "2 or more --folds, found 1"),
        ({"folds": -3}, "2 or more --folds, found -3"),
        ({"folds": 3, "test": 0.2}, "--folds or --test, found both"),
        ({"valid": 0.5}, "below 0.5 as --valid, found 0.5"),
        ({"test": 0.0}, "above 0 and below 0.5 as --test, found 0.0"),
        ({"valid": float("nan")}, "as --valid, found nan"),
        ({"window": "bone"}, "--window: .*'bone'"),
    ],
)
def test_options_out_of_range(options: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        split(tmp_path / "not looked at", tmp_path / "m.csv", **options)


def test_a_bad_file_is_named_or_left_out(data: Path, tmp_path: Path) -> None:
    (data / "test" / "a" / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 41 images cannot be read.*--skip-bad") as error:
        split(data, tmp_path / "m.csv")
    assert "bad.png" in error.value.details[0]
    assert len(rows(split(DataSource(data, skip_bad=True), tmp_path / "m.csv").files[0])) == 40


def test_the_command_prints_counts_and_where(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.csv"
    assert main(["split", str(data), "--out", str(out), "--valid", "0.1", "--test", "0.3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["split", "a", "b", "all"],
        ["train", "12", "12", "24"],
        ["valid", "2", "2", "4"],
        ["test", "6", "6", "12"],
    ]
    assert "40 images in 36 sets that stay together" in lines[5]
    assert "Patient independence not checked: 40 images" in lines[6]
    assert lines[-1] == f"Manifests: {out}"


def test_the_command_as_json(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", str(data), "--out", str(tmp_path / "m.csv"), "--folds", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == [str(tmp_path / f"m-fold{k}.csv") for k in (1, 2)]
    assert sum(said["counts"][0]["test"].values()) + sum(said["counts"][1]["test"].values()) == 40
    assert said["tied"]["components"] == 36


def test_groups_in_names_stay_together(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "splits.csv"
    done = split(DataSource(data, group_by_name=r"^[ab]\d*(\d)\.png$"), file)  # a3 and a13 are one patient
    assert done.tied.groups == 20
    found = by_name(file)
    for digit in range(8):
        assert len({found[f"{label}{n}{digit}.png"]["split"] for label in "a" for n in ("", "1")}) == 1


NAMES = ("patient{p}_{k}", "{p:04d}-{k}", "{n:05d}", "IMG{n}", "p{p}/{n}", "{k:03d} ({p})")


@st.composite
def images_without_splits(draw: st.DrawFn) -> DatasetFacts:
    """Images of patients, some stored twice, others nearly; their names may tell the patient."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    name = draw(st.sampled_from(NAMES))
    rows, names = [], []
    for number, label in enumerate("ab"):
        for patient in range(draw(st.integers(8, 16))):
            common = scene(int(rng.integers(1, 10**6))).astype(float)
            for image in range(int(rng.integers(1, 4))):
                look = 0.6 * common + 0.4 * scene(int(rng.integers(1, 10**6)))
                for copy in range(1 + int(rng.random() < 0.2)):
                    noisy = np.clip(look + rng.normal(0, 2, look.shape) * (rng.random() < 0.5), 0, 255)
                    digest = f"{number} {patient} {image} {copy}"
                    rows.append(Row("", label, digest=digest, thumbnail=noisy.astype(np.uint8)))
                    file = name.format(p=patient + 50 * number, k=10 * image + copy, n=len(names))
                    names.append(f"{label}/{file}.png")
    return named(dataset(rows), names)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(images_without_splits(), st.integers(0, 99))
def test_no_group_and_no_near_duplicate_is_in_two_splits_of_ours(facts: DatasetFacts, seed: int) -> None:
    whole, tied = tie(facts, "found")
    try:
        made = assign_splits(whole, tied, config.Splitting(), seed)
    except DataError:
        assume(False)
    groups: dict[str, set[str]] = {}
    for sample in made.samples:
        groups.setdefault(sample.group or sample.id, set()).add(sample.split)
    assert {len(splits) for splits in groups.values()} == {1}
    event(f"groups found: {any(sample.group for sample in made.samples)}")
    audited = facts.changed(manifest=made)
    for code in ("TB401", "TB404", "TB407", "TB409"):
        outcome = CHECKS[code].run(audited)
        assert isinstance(outcome, NotApplicable) or all(part.severity == "note" for part in outcome)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(images_without_splits(), st.integers(0, 99))
def test_the_same_of_many_more_data_sets(facts: DatasetFacts, seed: int) -> None:
    test_no_group_and_no_near_duplicate_is_in_two_splits_of_ours.hypothesis.inner_test(facts, seed)  # type: ignore[attr-defined]
