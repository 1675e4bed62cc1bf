"""DICOM as a whole: notes, patients' data, groups, and the outcome for each of pydicom's own files."""

import contextlib
import hashlib
import json
import logging
import struct
import traceback
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from tumorboard import config
from tumorboard.data import image_cache, manifest
from tumorboard.data.dicom import reader
from tumorboard.data.dicom.reader import recognised
from tumorboard.data.image_reader import read_image
from tumorboard.errors import DataError, ImageError

from .dicoms import (
    CT,
    JPEG_LS,
    PYDICOMS,
    SECONDARY,
    ULTRASOUND,
    element,
    elements,
    encapsulated,
    header,
    image,
    part10,
)
from .pictures import grey_png, plant, saved

WINDOW = {"center": 2, "width": 4}
RULE = config.Image(size=32)


def notes(tmp_path, content: bytes) -> tuple[str, ...]:
    path = tmp_path / "scan"
    path.write_bytes(content)
    found = read_image(path).notes
    assert all(note.startswith(f"{path}: ") for note in found)
    return tuple(note.removeprefix(f"{path}: ") for note in found)


# -- what the user is told (D8, D9)

BURNED_IN = {
    "said": ({"burned_in": "YES"}, "BurnedInAnnotation is YES"),
    "secondary capture": ({"sop_class": SECONDARY}, "secondary capture"),
    "secondary capture, one bit": ({"sop_class": f"{SECONDARY}.1"}, "secondary capture"),
    "secondary capture, grey": ({"sop_class": f"{SECONDARY}.2"}, "secondary capture"),
    "secondary capture, grey word": ({"sop_class": f"{SECONDARY}.3"}, "secondary capture"),
    "secondary capture, colour": ({"sop_class": f"{SECONDARY}.4"}, "secondary capture"),
    "ultrasound": ({"sop_class": ULTRASOUND}, "ultrasound"),
    "ultrasound, several frames": ({"sop_class": "1.2.840.10008.5.1.4.1.1.3.1"}, "ultrasound"),
    "ultrasound, retired": ({"sop_class": "1.2.840.10008.5.1.4.1.1.6"}, "ultrasound"),
    "ultrasound by modality": ({"modality": "US"}, "ultrasound"),
}


@pytest.mark.parametrize("name", BURNED_IN)
def test_text_in_the_pixels_is_warned_of_where_the_header_suggests_it(name, tmp_path):
    values, expected = BURNED_IN[name]
    assert notes(tmp_path, image([1, 2], **WINDOW, **values)) == (reader.BURNED_IN.format(expected),)


def test_an_ordinary_ct_needs_no_note(tmp_path):
    assert notes(tmp_path, image([1, 2], **WINDOW, burned_in="NO")) == ()
    assert notes(tmp_path, image([1, 2], **WINDOW, sop_class="1.2.840.10008.5.1.4.1.1.77.1.1")) == ()


@pytest.mark.parametrize("begins", [b"MZ\x90\0", b"\x7fELF\2", b"\xcf\xfa\xed\xfe", b"#!/bin/sh\n"])
def test_a_program_in_the_preamble_is_flagged(begins, tmp_path):
    (note,) = notes(tmp_path, image([1, 2], preamble=begins, **WINDOW))
    assert note.startswith("begins with a program")


def test_a_tiff_in_the_preamble_is_none(tmp_path):
    assert notes(tmp_path, image([1, 2], preamble=b"II*\0\x10\0\0\0", **WINDOW)) == ()


# -- what nobody is told (D7)

IDENTIFYING = [
    0x00080050, 0x00080080, 0x00080081, 0x00080090, 0x00081010, 0x00081030, 0x0008103E, 0x00081050,
    0x00100010, 0x00100020, 0x00100021, 0x00101000, 0x00101001, 0x00101040, 0x00102154, 0x00104000,
    0x00181030, 0x00200010,
]  # fmt: skip
UIDS = (0x0020000D, 0x0020000E, 0x00200052)
CODES = {"photometric": 31, "function": 32, "center": 33, "slope": 34, "frames": 35}


def planted(secret: list[str], **values: object) -> bytes:
    """A slice full of secrets: 18 standard elements, private ones, UIDs, a nested one, the preamble."""
    group = b"".join(element(tag, "LO", secret[n].encode()) for n, tag in enumerate(IDENTIFYING))
    nested = element(0x00100010, "PN", secret[18].encode())
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(nested)) + nested
    private = b"".join(element(0x00291000 + n, "LO", secret[19 + n].encode()) for n in range(6))
    uids = b"".join(element(tag, "UI", secret[25 + n].encode()) for n, tag in enumerate(UIDS))
    identifying = group + element(0x00081140, "SQ", item) + uids + private
    rest = elements(header(1, 2) | {"pixels": b"\1\0\2\0"} | values)
    return part10(identifying + rest, preamble=secret[28].encode())


def test_nothing_identifying_reaches_any_output(tmp_path, caplog, capfd):
    """40 secrets in headers; file and folder names are the user's own and shown as such."""
    caplog.set_level(logging.DEBUG)
    secret = [f"PHI{n:02}X{7919**3 * (n + 1):014X}" for n in range(40)]
    slices = {f"{label}/{n}": planted(secret, **WINDOW, burned_in="YES") for label in "ab" for n in (1, 2)}
    slices = {name: content + bytes([0, n]) for n, (name, content) in enumerate(slices.items())}
    # Whatever is wrong with a value, it is not quoted.
    spoilt = {f"a/{name}": planted(secret, **{**WINDOW, name: secret[n]}) for name, n in CODES.items()}
    spoilt["a/sop_class"] = planted(secret, sop_class=secret[29], pixels=None)
    spoilt["a/modality"] = planted(secret, modality=secret[30], frames=2)
    spoilt["a/syntax"] = slices["a/1"].replace(b"1.2.840.10008.1.2.1\0", secret[36].encode()[:18] + b"\0\0")
    spoilt["a/rows"] = planted(secret, rows=secret[37].encode())
    spoilt["a/voi"] = planted(secret, voi_lut=[{"lut_data": secret[38].encode()}])
    spoilt["a/frame"] = encapsulated([secret[39].encode()], JPEG_LS, rows=1, columns=2)
    plant(tmp_path / "data", slices | spoilt)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        loaded = manifest.load(tmp_path / "data")
        try:
            image_cache.decode(loaded.manifest, tmp_path / "run", RULE)
        except DataError as error:
            shown = [str(error), *error.details, "".join(traceback.format_exception(error))]
        for name in spoilt:
            with pytest.raises(DataError) as caught:
                read_image(tmp_path / "data" / name)
            shown += traceback.format_exception(caught.value)
        decoded = image_cache.decode(loaded.manifest, tmp_path / "run", RULE, skip_bad=True)
    assert len(decoded.problems) == len(spoilt)
    assert len(decoded.notes) == 4
    shown += [*decoded.notes, *decoded.problems, manifest.write_csv(decoded.manifest), caplog.text]
    shown += [str(one.message) for one in warned] + list(capfd.readouterr())
    written = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    text = "\n".join(shown).encode() + written
    assert [one for one in secret if one.encode() in text or one[:10].encode() in text] == []
    assert len({sample.group for sample in decoded.manifest.samples}) == 1


def test_nothing_identifying_comes_back_from_the_child(tmp_path, monkeypatch):
    """Not even what is wrong with a file: its answers are searched for 40 secrets."""
    secret = [f"PHI{n:02}X{7919**3 * (n + 1):014X}" for n in range(40)]
    answers, ask = [], reader.POOL.ask

    def recorded(*arguments):
        answers.append(ask(*arguments))
        return answers[-1]

    monkeypatch.setattr(reader.POOL, "ask", recorded)
    values = [
        WINDOW,
        WINDOW | {"photometric": secret[31]},
        WINDOW | {"modality": secret[30]},
        {"pixels": None},
    ]
    paths = [tmp_path / f"{n}" for n in range(len(values))]
    for path, changes in zip(paths, values, strict=True):
        path.write_bytes(planted(secret, **changes))
        with contextlib.suppress(ImageError):
            reader.read(path, None, 10**6)
        assert "PatientName" in reader.read_header(path).identifiers
    assert len(set(reader.groups(paths))) == 1
    assert len(answers) == 2 * len(paths) + 1
    text = "".join(json.dumps(header) + content.decode("latin-1") for header, content in answers)
    assert [value for value in secret if value in text or value[:10] in text] == []


# -- a bad file among good ones (I10)


def test_bad_files_change_nothing_for_the_good_ones(tmp_path):
    good = {f"{'ab'[n % 2]}/{n:02}": image([n, n + 50], series=f"1.{n}", **WINDOW) for n in range(38)}
    bad = {"a/38": image([1, 2], frames=2), "b/39": image([1, 2])[:-2]}
    alone, mixed = (plant(tmp_path / name, content) for name, content in (("1", good), ("2", good | bad)))
    clean = image_cache.decode(manifest.load(alone).manifest, tmp_path / "c1", RULE)
    found = image_cache.decode(manifest.load(mixed).manifest, tmp_path / "c2", RULE, skip_bad=True)
    assert found.manifest.ids == clean.manifest.ids
    np.testing.assert_array_equal(found.images, clean.images)
    assert len(found.problems) == 2


def test_the_window_is_part_of_the_cache(tmp_path):
    data = plant(
        tmp_path / "data", {f"{label}/{n}": image([n, 100], **WINDOW) for label in "ab" for n in (1, 2)}
    )
    loaded = manifest.load(data).manifest
    by_tag = image_cache.decode(loaded, tmp_path / "run", RULE).images
    by_setting = image_cache.decode(
        loaded, tmp_path / "run", RULE.model_copy(update={"window": "100,200"})
    ).images
    assert by_tag.max() == 255
    assert by_setting.max() == 128


# -- pydicom's own files

MR = ["", "_RLE", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_jpeg_ls_lossless", "_padded"]
EXPECTED = {
    "window LINEAR": ["693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "examples_overlay.dcm", "6154", "17106"]
    + [f"MR_small{name}.dcm" for name in MR],
    "full range": [
        "CT_small.dcm",
        "JPEG2000.dcm",
        "JPEGLSNearLossless_16.dcm",
        "liver_1frame.dcm",
        "rtdose_1frame.dcm",
    ],
    "as stored": ["JPEGLSNearLossless_08.dcm", "image_dfl.dcm"],
    "PALETTE COLOR": ["examples_palette.dcm"],
    "RGB": [
        "ExplVR_BigEnd.dcm",
        "examples_rgb_color.dcm",
        "examples_jpeg2k.dcm",
        "SC_rgb_jls_lossy_line.dcm",
    ],
    "several frames": ["rtdose.dcm", "rtdose_rle.dcm", "examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm"],
    "without an image": ["test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm", "DICOMDIR", "rtstruct.dcm"],
    "cut off": ["MR_truncated.dcm"],
    "lossy JPEG of 12 bits": ["JPEG-lossy.dcm", "JPGExtended.dcm"],
    "32 of 32 bits": ["SC_rgb_rle_32bit.dcm"],
    "14540801 tiles": ["JPEG2000-embedded-sequence-delimiter.dcm"],
    "number of frames is no number": ["badVR.dcm"],
    "photometric interpretation": ["meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm"],
}


def outcome(path: Path) -> str:
    try:
        return reader.read(path, None, 10**7).rule
    except ImageError as error:
        return str(error).replace("frames, which do not stand", "several frames")


def outcome_if_dicom(path: Path) -> str:
    return outcome(path) if recognised(path.read_bytes()[:132]) else ""


@pytest.mark.parametrize("expected", EXPECTED)
def test_pydicoms_files_take_their_rule_or_are_refused_for_their_reason(expected):
    for name in EXPECTED[expected]:
        assert expected in outcome(PYDICOMS[name]), name


def test_all_of_pydicoms_files_are_read_or_refused():
    outcomes = [outcome_if_dicom(path) for path in PYDICOMS.values()]
    rules = ("window LINEAR", "full range", "as stored", "PALETTE COLOR", "RGB")
    assert len(outcomes) > 150
    assert sum(one in rules for one in outcomes) == 80


def test_a_ct_is_rescaled_before_it_is_windowed():
    """One file of pydicom's, computed from its bytes: -1024 + stored, centre 30, width 100."""
    content = PYDICOMS["17106"].read_bytes()
    stored = np.frombuffer(content[-512:], "<i2").reshape(16, 16).astype(float)
    expected = np.clip((stored - 1024 - (30 - 0.5 - 99 / 2)) / 99, 0, 1) * 255
    assert np.abs(read_image(PYDICOMS["17106"]).pixels[..., 0] - expected).max() <= 0.5


def test_grey_agrees_with_pydicoms_own_functions():
    """An independent implementation, on every file of pydicom's that has a window."""
    windowed = [path for path in PYDICOMS.values() if outcome_if_dicom(path) == "window LINEAR"]
    for path in windowed:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(path)
            values = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data)
        half = 1 << data.BitsStored - 1
        ends = (-half, half - 1) if data.PixelRepresentation else (0, 2 * half - 1)
        low, high = (end * data.get("RescaleSlope", 1) + data.get("RescaleIntercept", 0) for end in ends)
        expected = (values - low) / (high - low) * 255
        if data.PhotometricInterpretation == "MONOCHROME1":
            expected = 255 - expected
        assert np.abs(read_image(path).pixels[..., 0] - expected).max() <= 0.5 + 1e-6, path
    assert len(windowed) == 42


def test_class_of_the_object_may_stand_in_the_file_meta_information_only(tmp_path):
    content = part10(
        elements(header(1, 2, sop_class=None) | WINDOW | {"pixels": bytes(4)}), media_class=ULTRASOUND
    )
    assert "ultrasound" in notes(tmp_path, content)[0]
    assert notes(tmp_path, content.replace(ULTRASOUND.encode(), f"{CT}\0\0".encode())) == ()


def test_what_pydicom_reads_without_force_is_recognised_and_no_picture_is():
    for name, path in PYDICOMS.items():
        # These two begin with text, and with a group that no rule of ours knows.
        expected = name not in ("README", "no_meta.dcm")
        assert recognised(path.read_bytes()[:132]) == expected, name
    picture = Image.new("RGB", (40, 40))
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP"):
        assert not recognised(saved(picture, kind)[:132])
    for other in (b"", b"\x08\0", b"\x08\0\x05\0", b"\x02\0" + b"\xff" * 130, b"\0" * 132, b"text " * 30):
        assert not recognised(other)


# -- groups (R1)


def files(folder: Path, headers: list[dict[str, str]]) -> list[Path]:
    contents = {f"{n:03}": image([n, n + 1], **values) for n, values in enumerate(headers)}
    plant(folder, contents)
    return [folder / name for name in contents]


def partition(found: tuple[str, ...]) -> list[list[int]]:
    return [[n for n, other in enumerate(found) if other == group] for group in dict.fromkeys(found)]


CASES = {
    "patients": (["A", "A", "B"], ["1.1", "1.2", "1.3"], [[0, 1], [2]]),
    "series, where nobody is named": (["", "ANONYMOUS", "0"], ["1.1", "1.1", "1.2"], [[0, 1], [2]]),
    "what programs write for a removed ID": (
        ["REMOVED", "Anonymized", "***"],
        ["1.1", "1.2", "1.1"],
        [[0, 2], [1]],
    ),
    "a file of a known patient's series": (["A", "", "A"], ["1.1", "1.1", "1.2"], [[0, 1, 2]]),
    "a patient who is called like a series": (["1.1", ""], ["1.2", "1.1"], [[0], [1]]),
    "padding is no part of a name": (["A", "A ", "A\0"], ["1.1", "1.2", "1.3"], [[0, 1, 2]]),
    "names beyond ASCII": (["Ä", "Ö"], ["1.1", "1.2"], [[0], [1]]),
}


@pytest.mark.parametrize("name", CASES)
def test_files_of_a_patient_are_a_group(name, tmp_path):
    patients, series, expected = CASES[name]
    headers = [{"patient": p, "series": s} for p, s in zip(patients, series, strict=True)]
    found = reader.groups(files(tmp_path, headers))
    assert partition(found) == expected
    assert all(len(group) == len("dicom-") + 16 for group in found)


def test_what_names_nobody_or_is_no_dicom_has_no_group(tmp_path):
    (path,) = files(tmp_path, [{}])
    plant(tmp_path, {"a.png": grey_png(1), "broken": path.read_bytes()[:300], "empty": b""})
    others = [tmp_path / name for name in ("a.png", "broken", "empty", "missing")]
    assert reader.groups([path, *others]) == ("",) * 5


def test_groups_are_the_same_in_every_run_and_order_but_not_in_another_data_set(tmp_path):
    paths = files(tmp_path, [{"patient": p} for p in "ABA"])
    found = reader.groups(paths)
    assert reader.groups(paths) == found
    assert reader.groups(paths[::-1]) == found[::-1]
    assert not set(reader.groups(paths[:2])) & set(found)


def test_whoever_has_the_manifest_cannot_find_an_id_by_trying_all(tmp_path):
    """Neither plainly, nor keyed with anything that stands in the manifest."""
    paths = files(tmp_path, [{"patient": f"{n}"} for n in range(10)])
    found = {group.removeprefix("dicom-") for group in reader.groups(paths)}
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


def test_groups_that_the_data_gives_stand_and_headers_fill_their_gaps(tmp_path):
    study(tmp_path)
    rows = "path,label,group\na/1,a,mine\na/2,a,\nb/1,b,\nb/2,b,\n"
    (tmp_path / "all.csv").write_text(rows)
    found = manifest.load(tmp_path / "all.csv").manifest.samples
    groups = [sample.group for sample in found]
    assert groups[:2] == ["mine", "mine"]  # of one patient
    assert groups[2] == groups[3] != ""
