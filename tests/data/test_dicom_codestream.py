import io
import struct

import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames

from tumorboard.data.dicom.codestream import begins, size
from tumorboard.data.dicom.elements import DicomError

from .dicoms import PYDICOMS
from .pictures import saved


def frame(name: str) -> bytes:
    return next(generate_frames(pydicom.dcmread(PYDICOMS[name]).PixelData, number_of_frames=1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("JPGExtended.dcm", (1024, 256, 1, 12)),
        ("SC_rgb_jpeg_gdcm.dcm", (100, 100, 3, 8)),
        ("SC_rgb_jpeg_dcmtk.dcm", (100, 100, 3, 8)),
        ("MR_small_jpeg_ls_lossless.dcm", (64, 64, 1, 16)),
        ("MR_small_jp2klossless.dcm", (64, 64, 1, 16)),
        ("examples_jpeg2k.dcm", (480, 640, 3, 8)),
        ("693_J2KI.dcm", (512, 512, 1, 16)),
    ],
)
def test_sizes_are_those_of_pydicoms_files(name, expected):
    assert size(frame(name)) == expected


@pytest.mark.parametrize("options", [{"progressive": True}, {"comment": b"\xff\xc0" * 9}, {"quality": 1}])
def test_jpegs_of_every_kind_are_measured(options):
    assert size(saved(Image.new("RGB", (31, 17)), "JPEG", **options)) == (17, 31, 3, 8)


def test_jpeg_2000_in_a_box_is_measured():
    boxed = io.BytesIO()
    Image.new("L", (31, 17)).save(boxed, "JPEG2000", no_jp2=False)
    assert size(boxed.getvalue())[:3] == (17, 31, 1)
    assert begins(boxed.getvalue())


def test_jpeg_2000_is_measured_from_its_offset():
    values = struct.pack(">HHIIIIIIIIHBBB", 41, 0, 110, 70, 10, 20, 100, 100, 0, 0, 1, 0x8B, 1, 1)
    assert size(b"\xff\x4f\xff\x51" + values) == (50, 100, 1, 12)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\0\x10",
        b"\xff\xd8\xff\xda\0\2\0",
        b"\xff\x4f\xff\x51\0",
        b"\0" * 99,
    ],
)
def test_what_has_no_size_is_refused(data):
    with pytest.raises(DicomError, match="compressed pixels are damaged"):
        size(data)
