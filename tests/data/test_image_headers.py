from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data import pictures
from tests.data.dicoms import PYDICOMS
from tumorboard.data.image_headers import Header, read_header

GREY = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
FILES = {
    "grey PNG": (pictures.grey_png(5), Header("PNG", "L", 8)),
    "PNG of 4 bits": (pictures.png(2, 1, 4, pictures.GREY, b"\x12"), Header("PNG", "L", 4)),
    "PNG of 1 bit": (pictures.png(8, 1, 1, pictures.GREY, b"\x12"), Header("PNG", "1", 1)),
    "grey PNG of 16 bits": (pictures.png(1, 1, 16, pictures.GREY, b"\1\2"), Header("PNG", "I;16", 16)),
    "RGB PNG of 16 bits": (pictures.png(1, 1, 16, pictures.RGB, b"\1\2" * 3), Header("PNG", "RGB", 16)),
    "RGBA PNG": (pictures.png(1, 1, 8, pictures.RGBA, b"\1\2\3\4"), Header("PNG", "RGBA", 8)),
    "JPEG": (pictures.saved(GREY.convert("RGB"), "JPEG"), Header("JPEG", "RGB", 8)),
    "WebP": (pictures.saved(GREY.convert("RGB"), "WEBP", lossless=True), Header("WEBP", "RGB", 8)),
    "BMP": (pictures.saved(GREY.convert("RGB"), "BMP"), Header("BMP", "RGB", 8)),
    "TIFF of 16 bits": (pictures.tiff(">", 1, 1, 16, 1, b"\1\2"), Header("TIFF", "I;16B", 16)),
    "TIFF of two pages": (
        pictures.saved(GREY, "TIFF", save_all=True, append_images=[GREY]),
        Header("TIFF", "L", 8, several=True),
    ),
}


@pytest.mark.parametrize(("content", "header"), FILES.values(), ids=FILES)
def test_a_header_says_how_the_image_is_stored(tmp_path: Path, content: bytes, header: Header) -> None:
    assert read_header(pictures.plant(tmp_path, {"x": content}) / "x") == header


def test_dicom_names_filled_identifiers_and_never_their_values() -> None:
    header = read_header(PYDICOMS["CT_small.dcm"])
    assert (header.format, header.mode, header.bits) == ("DICOM", "MONOCHROME2", 16)
    assert set(header.identifiers) >= {"PatientName", "PatientID", "InstitutionName"}
    assert "CompressedSamples" not in repr(header)


def test_empty_dicom_elements_identify_nobody(tmp_path: Path) -> None:
    content = PYDICOMS["CT_small.dcm"].read_bytes()
    name = content.index(b"\x10\x00\x10\x00PN")
    length = int.from_bytes(content[name + 6 : name + 8], "little")
    blank = content[: name + 8] + b" " * length + content[name + 8 + length :]
    found = read_header(pictures.plant(tmp_path, {"x.dcm": blank}) / "x.dcm").identifiers
    assert "PatientName" not in found
    assert "PatientID" in found


@pytest.mark.parametrize("name", ["image_dfl.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"])
def test_identifiers_are_found_in_every_encoding(name: str) -> None:
    assert "PatientName" in read_header(PYDICOMS[name]).identifiers


def test_what_is_no_image_has_an_empty_header(tmp_path: Path) -> None:
    folder = pictures.plant(tmp_path, {"text": b"no image", "cut.dcm": b"\0" * 128 + b"DICM\x08\0\x16\0UI"})
    assert read_header(folder / "text") == read_header(folder / "missing") == Header("", "", 0)
    assert read_header(folder / "cut.dcm").format in ("", "DICOM")
