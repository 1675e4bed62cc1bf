import hashlib
from pathlib import Path

import pytest

from tumorboard.data import manifest
from tumorboard.data.dicom.groups import groups

from .dicoms import PYDICOMS, image
from .pictures import grey_png, plant


def files(folder: Path, headers: list[dict[str, str]]) -> list[Path]:
    contents = {f"{n:03}": image([n, n + 1], **values) for n, values in enumerate(headers)}
    plant(folder, contents)
    return [folder / name for name in contents]


def partition(found: tuple[str, ...]) -> list[list[int]]:
    return [[n for n, other in enumerate(found) if other == group] for group in dict.fromkeys(found)]


CASES = {
    "patients": (["A", "A", "B"], ["1.1", "1.2", "1.3"], [[0, 1], [2]]),
    "series, where nobody is named": (["", "ANONYMOUS", "0"], ["1.1", "1.1", "1.2"], [[0, 1], [2]]),
    "a file of a known patient's series": (["A", "", "A"], ["1.1", "1.1", "1.2"], [[0, 1, 2]]),
    "a patient who is called like a series": (["1.1", ""], ["1.2", "1.1"], [[0], [1]]),
    "padding is no part of a name": (["A", "A ", "A\0"], ["1.1", "1.2", "1.3"], [[0, 1, 2]]),
    "names beyond ASCII": (["Ä", "Ö"], ["1.1", "1.2"], [[0], [1]]),
}


@pytest.mark.parametrize("name", CASES)
def test_files_of_a_patient_are_a_group(name, tmp_path):
    patients, series, expected = CASES[name]
    headers = [{"patient": p, "series": s} for p, s in zip(patients, series, strict=True)]
    found = groups(files(tmp_path, headers))
    assert partition(found) == expected
    assert all(len(group) == len("dicom-") + 16 for group in found)


def test_what_names_nobody_or_is_no_dicom_has_no_group(tmp_path):
    (path,) = files(tmp_path, [{}])
    plant(tmp_path, {"a.png": grey_png(1), "broken": path.read_bytes()[:300], "empty": b""})
    others = [tmp_path / name for name in ("a.png", "broken", "empty", "missing")]
    assert groups([path, *others]) == ("",) * 5


def test_groups_are_the_same_in_every_run_and_order_but_not_in_another_data_set(tmp_path):
    paths = files(tmp_path, [{"patient": p} for p in "ABA"])
    found = groups(paths)
    assert groups(paths) == found
    assert groups(paths[::-1]) == found[::-1]
    assert not set(groups(paths[:2])) & set(found)


def test_whoever_has_the_manifest_cannot_find_an_id_by_trying_all(tmp_path):
    """Neither plainly, nor keyed with anything that stands in the manifest."""
    paths = files(tmp_path, [{"patient": f"{n}"} for n in range(10)])
    found = {group.removeprefix("dicom-") for group in groups(paths)}
    hashes = [hashlib.sha256(path.read_bytes()) for path in paths]
    keys = [b"", *(h.digest() for h in hashes), b"".join(sorted(h.digest() for h in hashes))]
    keys += [hashlib.blake2b(key).digest() for key in keys]
    for name in (f"{prefix}{n}" for n in range(10) for prefix in ("", "patient ")):
        for key in keys:
            for digest in (hashlib.blake2b, hashlib.blake2s):
                assert digest(name.encode(), key=key[:32], digest_size=8).hexdigest() not in found
            assert hashlib.sha256(key + name.encode()).hexdigest()[:16] not in found


def study(root: Path) -> Path:
    first, second = (PYDICOMS[name].read_bytes() for name in ("17106", "6293"))
    slices = {
        f"{label}/{n}": content + bytes(n) for label, content in (("a", first), ("b", second)) for n in (1, 2)
    }
    return plant(root, slices)


def test_the_manifest_takes_groups_from_dicom_headers(tmp_path):
    samples = manifest.load(study(tmp_path)).manifest.samples
    assert samples[0].group == samples[1].group != samples[2].group == samples[3].group
    assert "77654033" not in manifest.write_csv(manifest.Manifest.of(samples)).replace(str(tmp_path), "")


def test_groups_that_the_data_gives_stand(tmp_path):
    study(tmp_path)
    rows = "path,label,group\na/1,a,mine\na/2,a,\nb/1,b,\nb/2,b,\n"
    (tmp_path / "all.csv").write_text(rows)
    found = manifest.load(tmp_path / "all.csv").manifest.samples
    assert [sample.group for sample in found] == ["mine", "", "", ""]
