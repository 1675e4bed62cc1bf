"""Which pixels are taken from a file, and which files have none to take (hazards D3 and D4)."""

import struct

import numpy as np
import pytest
from PIL import Image

from tumorboard.data.image_reader import read_image
from tumorboard.errors import DataError

from .dicoms import (
    IMPLICIT,
    J2K,
    JPEG,
    PRESENTATION,
    PYDICOMS,
    RLE,
    STRUCTURED,
    elements,
    encapsulated,
    header,
    image,
    part10,
)
from .pictures import grey_png, saved

ONE = {"center": 2, "width": 4}


def read(tmp_path, content: bytes, **options):
    (tmp_path / "scan").write_bytes(content)
    return read_image(tmp_path / "scan", **options).pixels


def refusal(tmp_path, content: bytes, **options) -> str:
    with pytest.raises(DataError) as caught:
        read(tmp_path, content, **options)
    message = str(caught.value)
    assert len(message) <= 300
    assert "\n" not in message
    assert message.startswith(
        f"{tmp_path}/scan: expected an image (PNG, JPEG, BMP, TIFF, WebP, DICOM), found "
    )
    return message.split("found ")[1]


def rle_frames(count: int) -> list[bytes]:
    """Frames of 1 x 4 values 7, of 8 bits: one segment, a run of four."""
    return [struct.pack("<16I", 1, 64, *[0] * 14) + bytes([0xFD, 7])] * count


def rle(fragments: list[bytes], frames: int | None = None) -> bytes:
    return encapsulated(fragments, RLE, rows=1, columns=4, allocated=8, frames=frames)


JPEGS = [saved(Image.new("L", (4, 4), 50), "JPEG")] * 2

# Of several frames none is chosen in silence, and the header must be right about their number.
SEVERAL = {
    "two frames": (image([1, 2], frames=2, pixels=bytes(8)), "2 frames"),
    "two compressed frames": (rle(rle_frames(2), 2), "2 frames"),
    "a frame more than the header says": (image([1, 2], pixels=bytes(8)), "more pixels than"),
    "a frame more than the header's one": (image([1, 2], frames=1, pixels=bytes(8)), "more pixels than"),
    "a compressed frame more": (rle(rle_frames(2)), "more frames than"),
    "a JPEG more": (encapsulated(JPEGS, JPEG, rows=4, columns=4, allocated=8), "more frames than"),
    "a frame less": (image([1, 2], frames=2), "2 frames"),
    "no frames": (image([1, 2], frames=0), "no number"),
    "a number of frames that is none": (image([1, 2], frames="1A"), "no number"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_frames_are_refused(name, tmp_path):
    content, expected = SEVERAL[name]
    assert expected in refusal(tmp_path, content)


def test_a_refusal_of_frames_says_how_to_go_on(tmp_path):
    assert refusal(tmp_path, SEVERAL["two frames"][0]).endswith(
        "save each frame that you want as a file of its own"
    )


def test_one_frame_is_read_whether_or_not_it_is_counted_and_whatever_pads_it(tmp_path):
    plain = read(tmp_path, image([1, 2, 3], **ONE))
    np.testing.assert_array_equal(read(tmp_path, image([1, 2, 3], frames=1, **ONE)), plain)
    padded = struct.pack("<4H", 1, 2, 3, 99)
    np.testing.assert_array_equal(read(tmp_path, image([1, 2, 3], pixels=padded, **ONE)), plain)
    assert read(tmp_path, rle(rle_frames(1), 1))[0, :, 0].tolist() == [7, 7, 7, 7]


def test_a_frame_in_several_fragments_is_joined(tmp_path):
    jpeg = JPEGS[0]
    whole = encapsulated([jpeg], JPEG, rows=4, columns=4, allocated=8)
    parts = encapsulated([jpeg[:100], jpeg[100:]], JPEG, rows=4, columns=4, allocated=8)
    np.testing.assert_array_equal(read(tmp_path, parts), read(tmp_path, whole))


def test_an_offset_table_of_several_frames_is_refused(tmp_path):
    content = rle(rle_frames(1))
    empty = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    table = struct.pack("<HHIII", 0xFFFE, 0xE000, 8, 0, 66)
    assert "more frames than" in refusal(tmp_path, content.replace(empty, table))


def kind(sop_class: str) -> bytes:
    return part10(elements({"sop_class": sop_class, "modality": "SR"}), media_class=sop_class)


def without(name: str) -> bytes:
    return image([1, 2], **{name: None})


FOUND = {
    "a structured report": (kind(STRUCTURED), "without an image (Basic Text SR Storage)"),
    "a presentation state": (kind(PRESENTATION), "without an image (Grayscale Softcopy Presentation State"),
    "an unknown object": (kind("1.2.3"), "without an image (unknown kind)"),
    "a header alone": (part10(elements(header(1, 2))), "without an image (CT Image Storage)"),
    "an empty data set": (part10(b""), "without an image"),
    "floating-point pixels": (
        part10(elements(header(1, 1) | {"float_pixels": bytes(4)})),
        "floating-point pixels",
    ),
    "no rows": (without("rows"), "without one value of rows"),
    "no bits": (without("allocated"), "without one value of allocated"),
    "no photometric interpretation": (without("photometric"), "photometric interpretation that is not read"),
    "two values of rows": (image([1, 2], rows=[1, 1]), "without one value of rows"),
    "pixels cut off": (image([1, 2])[:-2], "cut off after 2 of 4 bytes"),
    "fewer pixels than the header says": (image([1, 2], rows=3), "cut off after 4 of 12 bytes"),
    "no pixels": (image([1, 2], pixels=b""), "cut off after 0 of 4 bytes"),
    "24 bits": (part10(elements(header(1, 1, allocated=24) | {"pixels": bytes(4)})), "24 of 24 bits"),
    "12 of 8 bits": (image([1, 2], allocated=8, stored=12), "12 of 8 bits"),
    "a high bit of old": (image([1, 2], stored=12, high_bit=15), "up to bit 15"),
    "MPEG": (image([1, 2], syntax="1.2.840.10008.1.2.4.102"), "MPEG-4 AVC/H.264 High Profile"),
    "a private compression": (image([1, 2], syntax="1.2.3.4"), "in unknown compression"),
    "compressed pixels of defined length": (image([1, 2], syntax=J2K), "compressed pixels are cut off"),
    "a frame of no codestream": (encapsulated([b"nothing!"], J2K, rows=2, columns=2), "another kind than"),
    "compressed pixels cut off": (rle(rle_frames(1))[:-20], "compressed pixels are cut off"),
    "native pixels of undefined length": (
        encapsulated([b""], IMPLICIT, rows=1, columns=1),
        "more pixels than",
    ),
    "a value that is no number": (image([1, 2], center="1", width="x"), "(0028,1051) is no number"),
    "lossy JPEG of 12 bits": (PYDICOMS["JPGExtended.dcm"].read_bytes(), "lossy JPEG of 12 bits"),
    "another size inside": (encapsulated(JPEGS[:1], JPEG, rows=5, columns=4, allocated=8), "pixels of 4 x 4"),
    "a picture that pretends": (b"\0" * 128 + b"DICM" + grey_png(1), "DICOM"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_is_no_readable_image_costs_one_line(name, tmp_path):
    content, expected = FOUND[name]
    assert expected in refusal(tmp_path, content)


def test_the_pixel_limit_is_inclusive(tmp_path):
    content = image(np.ones((10, 10), int), **ONE)
    assert read(tmp_path, content, max_pixels=100).shape == (10, 10, 3)
    assert "10 x 10 pixels, more than the 99 allowed" in refusal(tmp_path, content, max_pixels=99)


def test_one_bit_images_are_black_and_white(tmp_path):
    bits = header(1, 8, allocated=1) | {"pixels": bytes([0b00100110, 0])}
    assert read(tmp_path, part10(elements(bits)))[0, :, 0].tolist() == [0, 255, 255, 0, 0, 255, 0, 0]
