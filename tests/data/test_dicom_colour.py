import numpy as np
import pytest

from tumorboard.data.image_reader import read_image
from tumorboard.errors import DataError

from .dicoms import BIG_ENDIAN, EXPLICIT, IMPLICIT, PYDICOMS, image

COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [1, 2, 3]], [[0, 0, 255], [9, 9, 9], [255, 255, 255]]])
RGB = {"photometric": "RGB", "samples": 3, "planar": 0, "allocated": 8}
PALETTE = {
    "photometric": "PALETTE COLOR",
    **{f"{name}_descriptor": [4, 1, 16] for name in ("red", "green", "blue")},
    "red": [0x0000, 0x1122, 0x3344, 0xFFFF],
    "green": [0x0100, 0x0200, 0x0300, 0x0400],
    "blue": [0xFF00, 0x0000, 0x7FFF, 0x8000],
}
# Of the palette's entries the high bytes; indices below 1 and above 4 are the nearest end.
SHOWN = [[0, 1, 255], [0, 1, 255], [0x11, 2, 0], [0x33, 3, 0x7F], [255, 4, 0x80], [255, 4, 0x80]]


def read(tmp_path, content: bytes):
    (tmp_path / "scan").write_bytes(content)
    return read_image(tmp_path / "scan").pixels


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_rgb_is_read_by_pixel_and_by_plane(syntax, tmp_path):
    np.testing.assert_array_equal(read(tmp_path, image(COLOURS, syntax=syntax, **RGB)), COLOURS)
    planes = COLOURS.transpose(2, 0, 1).astype(np.uint8).tobytes()
    by_plane = image(COLOURS, syntax=syntax, **RGB | {"planar": 1, "pixel_bytes": planes})
    np.testing.assert_array_equal(read(tmp_path, by_plane), COLOURS)


def test_of_colours_of_12_bits_the_highest_8_are_read(tmp_path):
    content = image(COLOURS * 16 + 7, **RGB | {"allocated": 16, "stored": 12})
    np.testing.assert_array_equal(read(tmp_path, content), COLOURS)


def test_ybr_is_converted(tmp_path):
    """ITU-R BT.601: red is (76, 85, 255), grey has 128 in both differences."""
    ybr = [[[76, 85, 255], [128, 128, 128]]]
    found = read(tmp_path, image(ybr, **RGB | {"photometric": "YBR_FULL"})).astype(int)
    assert np.abs(found - [[[255, 0, 0], [128, 128, 128]]]).max() <= 1


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_a_palette_is_looked_up(syntax, tmp_path):
    found = read(tmp_path, image([0, 1, 2, 3, 4, 5], syntax=syntax, **PALETTE))
    assert found[0].tolist() == SHOWN


def test_a_palette_of_8_bits_is_looked_up(tmp_path):
    small = {f"{name}_descriptor": [2, 0, 8] for name in ("red", "green", "blue")}
    entries = {"red": bytes([3, 4]), "green": bytes([5, 6]), "blue": bytes([7, 8])}
    found = read(tmp_path, image([0, 1], **PALETTE | small | entries | {"allocated": 8}))
    assert found[0].tolist() == [[3, 5, 7], [4, 6, 8]]


def test_one_picture_in_many_colour_forms_is_one_picture():
    """pydicom's own files: the same colour bars, uncompressed, RLE, lossless and lossy JPEG, JPEG 2000."""
    plain = read_image(PYDICOMS["SC_rgb_rle.dcm"]).pixels.astype(int)
    for name in ("SC_rgb_jpeg_gdcm", "SC_rgb_rle_16bit"):
        np.testing.assert_array_equal(read_image(PYDICOMS[f"{name}.dcm"]).pixels, plain, name)
    for name in ("dcmtk_+eb+cr", "dcmtk_+eb+cy+n1", "dcmtk_+eb+cy+np", "dcmtk_+eb+cy+s4", "jpeg_lossy_gdcm"):
        found = read_image(PYDICOMS[f"SC_rgb_{name}.dcm"]).pixels.astype(int)
        assert np.median(np.abs(found - plain)) <= 2, name


REFUSED = {
    "signed colours": {**RGB, "signed": 1},
    "colours of 6 bits": {**RGB, "stored": 6},
    "colour of one sample": {**RGB, "samples": 1},
    "grey of three samples": {**RGB, "photometric": "MONOCHROME2"},
    "an unknown colour space": {**RGB, "photometric": "CMYK"},
    "no palette": {**PALETTE, "green": None},
    "a palette of another length": {**PALETTE, "blue": [1, 2]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_colours_that_cannot_be_known_are_refused(name, tmp_path):
    with pytest.raises(DataError, match=r"found DICOM (with|whose)"):
        read(tmp_path, image(COLOURS if "RGB" in str(REFUSED[name]) else [1, 2], **REFUSED[name]))
