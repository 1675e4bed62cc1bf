"""NIfTI: orientation, grey, and hostile files; `test_volumes` has how slices are chosen."""

import gzip
import random
import re
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform

from tests.data.pictures import plant
from tumorboard import config
from tumorboard.data import manifest, sandbox, volumes
from tumorboard.data.image_headers import Header, read_header
from tumorboard.data.image_reader import read_image
from tumorboard.data.nifti import worker
from tumorboard.data.nifti.reader import HEAD_BYTES, POOL, recognised
from tumorboard.errors import DataError

INDEX = np.indices((3, 4, 5))
SCAN = (INDEX[0] + 10 * INDEX[1] + 40 * INDEX[2]).astype(np.int16)
"""Of (R, A, S): each value says where in the patient it is."""
EXACT = config.Image(window="128,257")
"""A window that shows values from 0 to 255 as they are."""


def saved(values, affine=None, kind=nibabel.Nifti1Image, **fields) -> bytes:
    picture = kind(values, np.eye(4) if affine is None else affine)
    for name, value in fields.items():
        picture.header[name] = value
    return picture.to_bytes()


def changed(place: int, form: str, *values, content: bytes = saved(SCAN)) -> bytes:
    written = bytearray(content)
    struct.pack_into(f"<{form}", written, place, *values)
    return bytes(written)


DIM, DATATYPE, OFFSET, CODES, SROW_Z = 40, 70, 108, 252, 312


def grey(path, settings=EXACT):
    return read_image(path, settings).pixels[..., 0]


def planted(tmp_path, content: bytes, name="scan.nii"):
    return plant(tmp_path, {name: content}) / name


# -- orientation


def test_a_slice_is_seen_from_the_feet_with_the_front_at_the_top(tmp_path):
    path = planted(tmp_path, saved(SCAN))
    right_to_left, front_to_back = [2, 1, 0], [30, 20, 10, 0]
    for number in (1, 2, 5):
        expected = np.add.outer(front_to_back, right_to_left) + 40 * (number - 1)
        np.testing.assert_array_equal(grey(path.with_name(f"scan.nii#{number}")), expected)


@pytest.mark.parametrize("codes", ["LAS", "LPS", "RPI", "SPL", "AIR", "PIR", "LSA"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_order_and_direction_of_axes_do_not_matter(codes, suffix, tmp_path):
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    turned = nibabel.Nifti1Image(SCAN, np.eye(4)).as_reoriented(turn)
    assert "".join(nibabel.aff2axcodes(turned.affine)) == codes
    nibabel.save(turned, tmp_path / f"scan{suffix}")
    paths = volumes.slices(tmp_path / f"scan{suffix}", "all")
    plain = planted(tmp_path, saved(SCAN), "plain")
    assert len(paths) == 5
    for number, path in enumerate(paths, start=1):
        np.testing.assert_array_equal(grey(path), grey(plain.with_name(f"plain#{number}")))


@pytest.mark.parametrize("degrees", [10, 30, 44])
def test_of_an_oblique_volume_the_nearest_axis_counts(degrees, tmp_path):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    tilt = np.array([[1, 0, 0, 5], [0, cos, -sin, 6], [0, sin, cos, -7], [0, 0, 0, 1]])
    path = planted(tmp_path, saved(SCAN, tilt @ np.diag([2, 0.5, 3, 1])))
    plain = planted(tmp_path, saved(SCAN), "plain")
    np.testing.assert_array_equal(grey(path.with_name("scan.nii#4")), grey(plain.with_name("plain#4")))


def test_an_orientation_that_is_not_recorded_is_noted(tmp_path):
    path = planted(tmp_path, changed(CODES, "2h", 0, 0))
    image = read_image(path.with_name("scan.nii#1"), EXACT)
    assert "does not record its orientation" in image.notes[0]
    assert image.pixels[-1, :, 0].tolist() == [0, 1, 2]  # the first axis runs to the left


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("endianness", ["<", ">"])
def test_both_versions_and_byte_orders_are_read(kind, endianness, tmp_path):
    head = kind.header_class(endianness=endianness)
    head.set_data_dtype(np.int16)
    content = kind(SCAN, np.eye(4), head).to_bytes()
    assert recognised(content[:HEAD_BYTES])
    path = planted(tmp_path, content)
    assert grey(path.with_name("scan.nii#2")).max() == 72
    assert read_header(path.with_name("scan.nii#2")) == Header("NIFTI", "F", 16)


def test_a_slice_of_too_many_pixels_is_refused(tmp_path):
    path = planted(tmp_path, saved(SCAN))
    with pytest.raises(DataError, match="3 x 4 pixels, more than the 11 allowed"):
        read_image(path.with_name("scan.nii#1"), max_pixels=11)


def test_values_that_are_no_numbers_are_black_in_any_window(tmp_path):
    values = SCAN.astype(np.float32)
    values[0, 0, 0] = np.nan
    path = planted(tmp_path, saved(values))
    shown = grey(path.with_name("scan.nii#1"), config.Image(window="0,200"))
    assert shown.min() == shown[-1, -1] == 0
    assert np.partition(shown, 1, axis=None)[1] > 100


def test_a_file_that_is_written_again_is_read_again(tmp_path):
    before, after = (gzip.compress(saved(values), 0, mtime=0) for values in (SCAN, SCAN[:, :, ::-1].copy()))
    path = planted(tmp_path, before)
    assert grey(path.with_name("scan.nii#1")).max() == 32
    with path.open("r+b") as file:  # the same file of the same size
        file.write(after)
    assert grey(path.with_name("scan.nii#1")).max() == 192


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_the_process_that_reads_is_limited_in_memory_and_time(tmp_path):
    POOL.close()
    grey(planted(tmp_path, saved(SCAN)).with_name("scan.nii#1"))
    for pid in POOL.pids:
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max address space +4294967296 ", limits)
        assert re.search(r"Max cpu time +\d+ ", limits)


def test_one_slice_needs_no_choice(tmp_path):
    path = planted(tmp_path, saved(SCAN[:, :, :1]))
    assert volumes.slices(path, "all") == [path]
    assert grey(path).shape == (4, 3)


def test_several_slices_need_one(tmp_path):
    path = planted(tmp_path, saved(SCAN))
    with pytest.raises(DataError, match="5 slices, which do not stand for one image; choose with --frames"):
        read_image(path)
    with pytest.raises(DataError, match="so without slice 6"):
        read_image(path.with_name("scan.nii#6"))


# -- grey

NOISE = np.random.default_rng(0).normal(100, 30, (10, 10, 10))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32, np.float64, np.uint8])
def test_percentiles_of_the_whole_volume_are_black_and_white(dtype, tmp_path):
    values = NOISE.astype(dtype)
    path = planted(tmp_path, _typed(values))
    low, high = np.percentile(values.astype(np.float64), worker.PERCENTILES)
    for number in (1, 7):
        slice_ = values[::-1, ::-1, number - 1].T.astype(np.float64)
        expected = np.rint(np.clip((slice_ - low) / (high - low), 0, 1) * 255)
        np.testing.assert_array_equal(grey(path.with_name(f"scan.nii#{number}"), config.Image()), expected)


def _typed(values, **fields):
    head = nibabel.Nifti1Header()
    head.set_data_dtype(values.dtype)
    picture = nibabel.Nifti1Image(values, np.eye(4), head)
    content = bytearray(picture.to_bytes())
    for name, value in fields.items():
        place = {"slope": 112, "intercept": 116}[name]
        content[place : place + 4] = struct.pack("<f", value)
    return bytes(content)


def test_a_window_is_on_values_after_slope_and_intercept(tmp_path):
    path = planted(tmp_path, _typed(SCAN, slope=2, intercept=-10))
    expected = np.clip(2.0 * SCAN[::-1, ::-1, 1].T - 10, 0, 255)
    np.testing.assert_array_equal(grey(path.with_name("scan.nii#2")), expected)


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_a_slope_that_is_none_changes_nothing(slope, tmp_path):
    path = planted(tmp_path, _typed(SCAN, slope=slope, intercept=5))
    assert grey(path.with_name("scan.nii#1"))[-1].tolist() == [2, 1, 0]


def test_a_preset_on_values_that_are_no_hounsfield_units_is_noted(tmp_path):
    lung = config.Image(window="lung")
    path = planted(tmp_path, saved(SCAN))
    assert "no Hounsfield units" in read_image(path.with_name("scan.nii#1"), lung).notes[0]
    path = planted(tmp_path, saved((NOISE * 10 - 1500).astype(np.int16)), "ct.nii")
    assert read_image(path.with_name("ct.nii#1"), lung).notes == ()
    wrong = config.Image(window="30000,10")
    assert "loses most of its grey" in read_image(path.with_name("ct.nii#1"), wrong).notes[0]


def test_values_that_are_no_numbers_are_black(tmp_path):
    values = NOISE.astype(np.float32)
    values[0, 0, 0], values[1, 0, 0] = np.nan, np.inf
    path = planted(tmp_path, saved(values))
    assert grey(path.with_name("scan.nii#1"), config.Image())[-1, -2:].tolist() == [0, 0]


def test_a_volume_of_one_value_is_black(tmp_path):
    path = planted(tmp_path, saved(np.full((4, 4, 4), 7, np.int16)))
    assert grey(path.with_name("scan.nii#1"), config.Image()).max() == 0


# -- hostile files


SHAPE = (3, 3, 4, 5, 1, 1, 1, 1)
ZIPPED = gzip.compress(saved(np.random.default_rng(0).integers(0, 99, (20, 20, 20)).astype(np.int16)))
HOSTILE = {
    "sizes that multiply beyond 64 bits": (
        changed(DIM, "8h", 3, *[32767] * 7),
        "32,767 values along an axis, more than the 10,000",
    ),
    "seven dimensions beyond 64 bits": (changed(DIM, "8h", 7, *[32767] * 7), "not one volume"),
    "no dimension": (changed(DIM, "8h", 0, *SHAPE[1:]), "NIfTI"),
    "a size of 0": (changed(DIM, "8h", 3, 0, 4, 5, 1, 1, 1, 1), "dimensions make no sense"),
    "a negative size": (changed(DIM, "8h", 3, 3, -4, 5, 1, 1, 1, 1), "dimensions make no sense"),
    "a million dimensions": (changed(DIM, "8h", 32767, *SHAPE[1:]), "dimensions make no sense"),
    "more slices than are read": (changed(DIM, "8h", 3, 1, 1, 20000, 1, 1, 1, 1), "more than"),
    "a size more": (changed(DIM, "8h", 3, 3, 4, 6, 1, 1, 1, 1), "cut off after 120 of 144 bytes"),
    "four dimensions": (saved(np.zeros((3, 3, 3, 2), np.int16)), "3 x 3 x 3 x 2 values, not one volume"),
    "colours": (changed(DATATYPE, "2h", 128, 24), "no real numbers"),
    "complex numbers": (saved(np.zeros((3, 3, 3), np.complex64)), "no real numbers"),
    "an unknown type": (changed(DATATYPE, "2h", 9999, 16), "damaged NIfTI"),
    "values before the header": (changed(OFFSET, "f", 8), "NIfTI"),
    "values far away": (changed(OFFSET, "f", 3e38), "begin at a place"),
    "values nowhere": (changed(OFFSET, "f", float("nan")), "begin at a place"),
    "values at no whole byte": (changed(OFFSET, "f", 352.5), "begin at a place"),
    "an affine that flattens": (changed(SROW_Z, "4f", 1, 0, 0, 0), "two axes onto one"),
    "an affine without numbers": (changed(SROW_Z, "4f", *[np.nan] * 4), "two axes onto one"),
    "no finite value": (saved(np.full((3, 3, 3), np.nan, np.float32)), "without a finite value"),
    "cut off": (saved(SCAN)[:-1], "cut off after 119 of 120 bytes"),
    "cut off in the header": (saved(SCAN)[:352], "cut off after 0 of 120"),
    "compressed, a value too few": (gzip.compress(saved(SCAN)[:-1]), "cut off after 119 of 120 bytes"),
    "compressed, cut off": (ZIPPED[:-2000], "cut off"),
    "compressed, cut off at its end": (ZIPPED[:-3], "cut off or damaged"),
    "compressed, damaged": (ZIPPED[:-4000] + b"x" * 50 + ZIPPED[-3950:], "damaged"),
    "compressed, with another checksum": (ZIPPED[:-8] + b"\0" * 8, "cut off or damaged"),
    "a bomb by its header": (
        gzip.compress(changed(DIM, "8h", 3, 9000, 9000, 9000, 1, 1, 1, 1) + bytes(10 << 20)),
        "more than the 1024 MiB",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_volume_is_one_line(name, tmp_path):
    content, reason = HOSTILE[name]
    (path,) = volumes.slices(planted(tmp_path, content, "x"), "all")
    with pytest.raises(DataError) as caught:
        read_image(path)
    message = str(caught.value)
    assert reason in message
    assert len(message) <= 300
    assert "\n" not in message


@pytest.mark.parametrize(
    "head",
    [b"\x1f\x8b", b"\x1f\x8b\x08" + bytes(100), struct.pack("<i8s", 540, b"n+2\0\r\n\x1a\n") + bytes(20)],
    ids=["no more than gzip's mark", "damaged gzip", "cut off in the header"],
)
def test_a_beginning_without_a_whole_header_is_not_recognised(head):
    assert not recognised(head)


def test_a_process_that_ends_twice_is_one_line(tmp_path, monkeypatch):
    def ended(*_):
        raise sandbox.SandboxEndedError

    path = planted(tmp_path, saved(SCAN))
    monkeypatch.setattr(POOL, "ask_of_file", ended)
    with pytest.raises(DataError, match="a damaged NIfTI file, at which the decoding process ended twice"):
        read_image(path.with_name("scan.nii#1"))


def test_of_a_bomb_only_what_the_header_counts_is_decompressed(tmp_path):
    small = saved(SCAN)
    path = planted(tmp_path, gzip.compress(small + bytes(300 << 20)), "bomb")
    assert path.stat().st_size < 1 << 20
    assert grey(path.with_name("bomb#2")).max() == 72


def test_headers_changed_at_random_are_read_or_are_one_line():
    """In this process: an exception that `answer` does not turn into a line would show."""
    dice, answers = random.Random(0), []  # noqa: S311
    for _ in range(400):
        content = bytearray(saved(SCAN))
        for _ in range(dice.randint(1, 6)):
            content[dice.randrange(4, 344)] = dice.choice([0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)])
        request = {"number": 1, "setting": None, "max_pixels": 10**8, "task": "slice"}
        answer, pixels = worker.answer(request, bytes(content))
        assert "error" in answer or len(pixels) == np.prod(answer["shape"])
        answers.append("error" in answer)
    assert 20 < sum(answers) < 380


@pytest.fixture(autouse=True)
def _no_limits_on_this_process(monkeypatch):
    monkeypatch.setattr(worker.sandbox, "limit_time", lambda seconds: None)


def test_a_pair_of_files_is_not_followed(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(SCAN, np.eye(4)), tmp_path / "scan.img")
    for name in ("scan.hdr", "scan.img"):
        assert volumes.slices(tmp_path / name, "all") == [tmp_path / name]
        with pytest.raises(DataError, match="expected an image"):
            read_image(tmp_path / name)


def test_without_nibabel_the_message_names_the_command(monkeypatch):
    monkeypatch.setattr(worker, "find_spec", lambda name: None)
    request = {"task": "count"}
    answer, _ = worker.answer(request, saved(SCAN))
    assert answer["error"] == "NIfTI, and nibabel is not installed"
    assert "install" in answer["remedy"]
    assert "nibabel" in answer["remedy"]


def test_volumes_are_samples_of_one_group_each(tmp_path):
    rng = np.random.default_rng(0)
    files = {
        f"{label}/{number}.nii": saved(rng.integers(0, 99, (8, 8, 6)).astype(np.int16))
        for label in "ab"
        for number in range(3)
    }
    loaded = manifest.load(plant(tmp_path, files), frames=3).manifest
    assert loaded.ids[:3] == ("a/0.nii#2", "a/0.nii#4", "a/0.nii#6")
    assert len(loaded.samples) == 18
    assert set(loaded.groups.values()) == set(files)
