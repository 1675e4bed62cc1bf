import hashlib
import shutil
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorboard.data import synthetic
from tumorboard.data.synthetic import CLASSES, FEWEST, MARK, PLANTED, draw, is_synthetic
from tumorboard.errors import DataError, StorageError, UsageError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("phantoms"), seed=3, images_per_class=FEWEST)


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.glob("*/*/*"))


def readable(root: Path) -> list[str]:
    return [name for name in names(root) if name != PLANTED.damaged]


def mode_of(path: Path) -> str:
    with Image.open(path) as image:
        return f"{image.format} {image.mode}"


def grey(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        pixels = np.asarray(image)
    if pixels.dtype == np.uint16:
        pixels = pixels >> 8
    return pixels.astype(np.uint8) if pixels.ndim == 2 else pixels[..., 0]


def digests(root: Path) -> dict[str, str]:
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names(root)}


def test_same_seed_gives_same_bytes_and_another_seed_gives_others(root: Path, tmp_path: Path) -> None:
    again = draw(tmp_path / "again", seed=3, images_per_class=FEWEST)
    other = draw(tmp_path / "other", seed=4, images_per_class=FEWEST)
    assert digests(again) == digests(root)
    assert not set(digests(other).values()) & set(digests(root).values())


def test_a_picture_does_not_depend_on_how_many_are_drawn(root: Path) -> None:
    more = dict(synthetic._files(3, FEWEST + 1))
    assert more.keys() > set(names(root))
    assert all(more[name] == (root / name).read_bytes() for name in names(root))


def test_layout_and_counts_are_those_of_the_study(root: Path) -> None:
    folders = Counter(Path(name).parent.as_posix() for name in names(root))
    assert {folder.split("/")[1] for folder in folders if folder.startswith("test/")} == set(CLASSES)
    assert folders["train/adenocarcinoma_left.lower.lobe_T2_N0_M0_Ib"] == 10
    assert folders["valid/squamous.cell.carcinoma_left.hilum_T1_N2_M0_IIIa"] == 2
    assert folders["test/normal"] == 4
    assert folders.total() == 4 * FEWEST


def test_every_file_says_that_it_is_synthetic(root: Path) -> None:
    assert MARK in (root / ".synthetic").read_text()
    for name in names(root):
        assert Path(name).name.startswith("synthetic_")
        assert MARK.encode() in (root / name).read_bytes()


def test_nothing_but_images_in_class_folders_and_the_hidden_note(root: Path) -> None:
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert files - set(names(root)) == {".synthetic"}
    assert {Path(name).suffix for name in names(root)} == {".png", ".jpg"}


def test_similar_images_are_the_planted_duplicates_and_the_conflict_only(root: Path) -> None:
    pixels = {name: (grey(root / name).shape, grey(root / name).tobytes()) for name in readable(root)}
    alike = {pair for pair in combinations(sorted(pixels), 2) if pixels[pair[0]] == pixels[pair[1]]}
    planted = {tuple(sorted(pair)) for pair in (*PLANTED.duplicates, PLANTED.conflict)}
    assert alike == planted


def test_duplicates_cross_splits_within_normal_in_two_modes(root: Path) -> None:
    modes = set()
    for original, copy in PLANTED.duplicates:
        assert original.startswith("train/normal/")
        assert copy.startswith(("valid/normal/", "test/normal/"))
        modes.add(mode_of(root / copy) == mode_of(root / original))
    assert modes == {True, False}


def test_the_conflict_is_between_two_classes_of_train() -> None:
    first, second = (Path(name).parts for name in PLANTED.conflict)
    assert first[0] == second[0] == "train"
    assert first[1] != second[1]


def test_only_the_damaged_file_cannot_be_decoded(root: Path) -> None:
    with Image.open(root / PLANTED.damaged) as image, pytest.raises(OSError, match="truncated"):
        image.load()
    for name in readable(root):
        with Image.open(root / name) as image:
            image.load()


def test_only_the_misnamed_file_is_not_what_its_name_says(root: Path) -> None:
    suffixes = {"PNG": ".png", "JPEG": ".jpg"}
    wrong = [name for name in names(root) if suffixes[mode_of(root / name).split()[0]] != Path(name).suffix]
    assert wrong == [PLANTED.misnamed]


def test_modes_are_mixed_and_tell_nothing_about_the_class(root: Path) -> None:
    by_class = {}
    for label in CLASSES:
        paths = [root / n for n in names(root) if n.startswith(f"train/{label}") and n != PLANTED.misnamed]
        by_class[label] = Counter(mode_of(path) for path in paths)
    assert set(by_class["normal"]) == {"PNG RGBA", "PNG RGB", "PNG L", "PNG I;16", "JPEG L"}
    assert len({counts["PNG RGB"] for counts in by_class.values()}) == 1
    assert by_class["normal"] == by_class["adenocarcinoma"] == by_class["squamous.cell.carcinoma"]


def test_sizes_vary_and_16_bit_files_use_their_depth(root: Path) -> None:
    assert len({grey(root / name).shape for name in readable(root)}) > FEWEST
    deep = next(root / name for name in readable(root) if mode_of(root / name) == "PNG I;16")
    with Image.open(deep) as image:
        assert len(np.unique(np.asarray(image))) > 1000


@pytest.mark.parametrize(
    ("label", "near", "far"),
    [
        ("adenocarcinoma", 0.35, 0.9),
        ("large.cell.carcinoma", 0.35, 0.9),
        ("squamous.cell.carcinoma", 0.12, 0.42),
    ],
)
def test_lesions_are_dense_and_where_their_class_has_them(label: str, near: float, far: float) -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.indices((140, 200), dtype=np.float32)
    x, y = (columns / 200 - 0.5) * 2.1, (rows - 70) / 200 * 2.1
    lung = ((np.abs(np.abs(x) - 0.4) < 0.3) & (np.abs(y) < 0.45)).astype(np.float32)
    for _ in range(20):
        hu = np.full(x.shape, -850, np.float32)
        synthetic._lesion(hu, rng, x, y, lung, label)
        dense = hu > -300
        assert dense.sum() > 20
        assert near < abs(np.median(x[dense])) < far


def test_normal_lungs_have_no_lesion() -> None:
    hu, axis = np.full((20, 20), -850, np.float32), np.ones((20, 20), np.float32)
    synthetic._lesion(hu, np.random.default_rng(0), axis, axis, axis, "normal")
    assert (hu == -850).all()


def test_drawing_again_over_the_same_data_set_mends_it(root: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(root, tmp_path / "data")
    (folder / PLANTED.misnamed).write_bytes(b"half")
    assert digests(draw(folder, seed=3, images_per_class=FEWEST)) == digests(root)


@pytest.mark.parametrize("content", [b"a patient", b"\xff\xfe", None])
def test_a_folder_with_something_else_is_refused_and_left_alone(
    tmp_path: Path, content: bytes | None
) -> None:
    (tmp_path / (".synthetic" if content else "scan.png")).write_bytes(content or b"mine")
    with pytest.raises(DataError, match="name another"):
        draw(tmp_path, images_per_class=FEWEST)
    assert len(list(tmp_path.iterdir())) == 1


def test_too_few_images_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"at least {FEWEST}"):
        draw(tmp_path / "data", images_per_class=FEWEST - 1)
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"):
        draw(tmp_path / "file" / "data", images_per_class=FEWEST)


def test_drawn_images_are_known_by_their_names():
    assert is_synthetic([_name for pair in PLANTED.duplicates for _name in pair])
    assert not is_synthetic([])
    assert not is_synthetic(["train/normal/synthetic_001.png", "train/normal/1.png"])
