import os
import random
import resource
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorboard.data import sandbox
from tumorboard.data.dicom import codecs
from tumorboard.data.dicom.elements import DicomError
from tumorboard.data.image_reader import read_image
from tumorboard.data.pixels import Pixels
from tumorboard.data.sandbox import SandboxStartError
from tumorboard.errors import DataError

from .dicoms import JPEG_LS, LOSSLESS, PYDICOMS, encapsulated, image
from .pictures import saved

MUTANTS = 1000
SEEDS = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_padded.dcm",
    "6154",
    "SC_rgb_small_odd.dcm",
    "rtdose_1frame.dcm",
    "test-SR.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "JPEGLSNearLossless_08.dcm",
]
"""Small files of pydicom's: every native encoding, and every codec."""


def mutant(content: bytes, draw: random.Random) -> bytes:
    """Cut off, changed, lengthened or shortened at one place or several; in the header as often as not."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        place = draw.randrange(min(len(changed), draw.choice([1500, len(content), len(content)])))
        kind = draw.choice(["change"] * 9 + ["insert", "delete", "cut"])
        if kind == "change":
            changed[place] = draw.choice([0, 255, draw.randrange(256)])
        elif kind == "insert":
            changed[place:place] = draw.randbytes(draw.randrange(1, 9))
        elif kind == "delete" and len(changed) > 200:
            del changed[place : place + draw.randrange(1, 9)]
        elif place > 132:
            del changed[place:]
    return bytes(changed)


def outcome(path: Path) -> tuple[Pixels | None, str]:
    try:
        return read_image(path).pixels, ""
    except DataError as error:
        return None, str(error)


def test_mutants_are_read_or_refused_in_one_line(tmp_path, capfd):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path, read, draw = tmp_path / "mutant", 0, random.Random(20)  # noqa: S311
    originals = [PYDICOMS[name].read_bytes() for name in SEEDS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(MUTANTS):
            path.write_bytes(mutant(originals[number % len(originals)], draw))
            pixels, message = outcome(path)
            assert len(message) <= 300
            assert "\n" not in message
            assert pixels is None or (pixels.dtype == np.uint8 and pixels.shape[2] == 3)
            read += pixels is not None
    assert 100 < read < MUTANTS - 100
    assert capfd.readouterr() == ("", "")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 * 1024


FATAL = {
    "an abort in GDCM": ("SC_rgb_jpeg_gdcm.dcm", {37: 0}),
    "a segmentation fault in GDCM": ("SC_rgb_jpeg_gdcm.dcm", {22: 255}),
    "an endless loop in CharLS": ("SC_rgb_jls_lossy_line.dcm", {80: 239, 508: 41}),
}
"""Bytes of the codestream, changed; found by trying. In this process they would end or hang all the tests."""


@pytest.mark.parametrize("name", FATAL)
def test_a_decoder_that_dies_costs_a_line_and_the_next_file_is_read(name, tmp_path):
    original, changes = FATAL[name]
    content = bytearray(PYDICOMS[original].read_bytes())
    start = content.index(b"\xff\xd8\xff", content.index(b"\xe0\x7f\x10\0"))
    for place, value in changes.items():
        content[start + place] = value
    (tmp_path / "bad.dcm").write_bytes(content)
    pixels, message = outcome(tmp_path / "bad.dcm")
    assert pixels is None
    assert "found DICOM with damaged" in message
    assert outcome(PYDICOMS[original])[1] == ""


def test_a_worker_that_dies_is_not_asked_again():
    read_image(PYDICOMS["MR_small_jpeg_ls_lossless.dcm"])
    for pid in codecs.POOL.pids:
        os.kill(pid, signal.SIGKILL)
    left = len(codecs.POOL.pids)
    with pytest.raises(DataError, match="damaged JPEG-LS pixels"):
        read_image(PYDICOMS["MR_small_jpeg_ls_lossless.dcm"])
    assert len(codecs.POOL.pids) == left - 1
    codecs.POOL.close()


def test_a_machine_that_starts_no_process_is_not_a_damaged_file(monkeypatch):
    codecs.POOL.close()
    monkeypatch.setattr(sandbox.sys, "executable", "/no/python")
    with pytest.raises(SandboxStartError, match="No such file"):
        read_image(PYDICOMS["MR_small_jpeg_ls_lossless.dcm"])


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("MR_small_jp2klossless.dcm", "pylibjpeg pylibjpeg-openjpeg"),
        ("MR_small_jpeg_ls_lossless.dcm", "pyjpegls"),
        ("SC_rgb_jpeg_gdcm.dcm", "python-gdcm"),
    ],
)
def test_a_missing_codec_names_its_package(name, package, monkeypatch):
    monkeypatch.setattr(codecs, "find_spec", lambda module: None)
    with pytest.raises(DataError, match=f"without its codec; pip install {package}$"):
        read_image(PYDICOMS[name])


@pytest.mark.parametrize("codec", sorted(set(codecs.CODECS.values())))
def test_every_codec_is_installed_here(codec):
    codecs.require(codec)


def test_lossless_compressions_give_the_uncompressed_picture():
    plain = read_image(PYDICOMS["MR_small.dcm"]).pixels
    for name in ("RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit", "padded"):
        np.testing.assert_array_equal(read_image(PYDICOMS[f"MR_small_{name}.dcm"]).pixels, plain, name)


def test_a_frame_of_another_form_than_asked_for_is_refused(monkeypatch):
    answer = {"shape": [2, 2], "dtype": "|u1", "photometric": "MONOCHROME2"}, b"\0" * 4
    monkeypatch.setattr(codecs.POOL, "ask", lambda request, frame: answer)
    with pytest.raises(DicomError, match="2 x 2, unlike its header"):
        codecs.decode(b"", JPEG_LS, {"rows": 3, "columns": 2})


def test_codestreams_under_a_wrong_transfer_syntax_are_refused(tmp_path):
    jpeg = saved(Image.new("L", (8, 8), 100), "JPEG")
    (tmp_path / "x").write_bytes(encapsulated([jpeg], JPEG_LS, rows=8, columns=8, allocated=8))
    with pytest.raises(DataError, match="damaged JPEG-LS pixels"):
        read_image(tmp_path / "x")
    (tmp_path / "x").write_bytes(image([1, 2], syntax=LOSSLESS))
    with pytest.raises(DataError, match="compressed pixels"):
        read_image(tmp_path / "x")
