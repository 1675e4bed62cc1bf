"""From stored values to grey and colour (hazards D1 and D2)."""

import zlib

import numpy as np
import pytest

from tumorboard import config
from tumorboard.data.image_reader import read_image
from tumorboard.errors import DataError

from .dicoms import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, PYDICOMS, elements, header, image, part10

# Windows are chosen so that the numbers are easy: centre 40 and width 400 is black up to 39.5 - 199.5 = -160
# and white above 39.5 + 199.5 = 239; 40 becomes (0.5 / 399 + 0.5) * 255 = 127.8.
HU = {"slope": 1, "intercept": -1024}
SOFT = {"center": 40, "width": 400}
LUT = {"lut_descriptor": [4, 10, 16], "lut_data": [0, 100, 200, 300]}
SHARED = [{"frame_rescale": [HU], "frame_window": [SOFT]}]

GOLDEN = {
    # name: (stored values, header, setting, expected grey)
    "LINEAR": ([0, 864, 1064, 1263, 2000], {**HU, **SOFT}, "", [0, 0, 128, 255, 255]),
    "LINEAR, its ends": ([865, 1262], {**HU, **SOFT}, "", [1, 254]),
    "LINEAR said": ([1064, 1164], {**HU, **SOFT, "function": "LINEAR"}, "", [128, 192]),
    "LINEAR_EXACT": (
        [864, 1064, 1164, 1264],
        {**HU, **SOFT, "function": "LINEAR_EXACT"},
        "",
        [0, 128, 191, 255],
    ),
    # 255 / (1 + exp(-4 * (x - 40) / 400)): at 40, 140 and -160 with exp(0), exp(-1) and exp(2)
    "SIGMOID": ([1064, 1164, 864], {**HU, **SOFT, "function": "SIGMOID"}, "", [128, 186, 30]),
    "several windows": (
        [864, 1064],
        {**HU, "center": "40\\-600", "width": "400\\1500"},
        "",
        [0, 128],
    ),
    "MONOCHROME1": ([864, 1064, 1263], {**HU, **SOFT, "photometric": "MONOCHROME1"}, "", [255, 127, 0]),
    "signed": ([-200, -160, 40, 239], {**SOFT, "signed": 1}, "", [0, 0, 128, 255]),
    "12 bits in 16, rubbish above": (
        [0xF000 | 864, 0xA000 | 1064, 0x5000 | 1263],
        {**HU, **SOFT, "stored": 12},
        "",
        [0, 128, 255],
    ),
    "12 bits in 16, signed": (
        [-200 & 0xFFF, 40, 239],
        {**SOFT, "stored": 12, "signed": 1},
        "",
        [0, 128, 255],
    ),
    "slope of 2.5": ([0, 80, 200], {"slope": 2.5, "intercept": -160, **SOFT}, "", [0, 128, 255]),
    "slope of -1": ([160, -40, -239], {"slope": -1, "intercept": 0, "signed": 1, **SOFT}, "", [0, 128, 255]),
    # 0.25 to 0.75: 0.55 is at 0.6 of it
    "width below 1": (
        [25, 55, 75],
        {"slope": 0.01, "intercept": 0, "center": 0.5, "width": 0.5},
        "",
        [0, 153, 255],
    ),
    "decimal commas": (
        [25, 55, 75],
        {"slope": "0,01", "intercept": "0", "center": "0,5", "width": "0,5"},
        "",
        [0, 153, 255],
    ),
    "lower case": ([10, 20, 60], {"photometric": "monochrome1"}, "", [255, 204, 0]),
    "negative width": (
        [0, 864, 1064, 1263, 2000],
        {**HU, "center": 40, "width": -400},
        "",
        [0, 0, 128, 255, 255],
    ),
    "negative width, SIGMOID in lower case": (
        [1064, 1164, 864],
        {**HU, "center": 40, "width": -400, "function": "sigmoid"},
        "",
        [128, 186, 30],
    ),
    "width of 1": ([98, 99, 100, 101], {"center": 100, "width": 1}, "", [0, 0, 255, 255]),
    "no window": ([10, 20, 30, 60], {}, "", [0, 51, 102, 255]),
    "no window, MONOCHROME1": ([10, 20, 60], {"photometric": "MONOCHROME1"}, "", [255, 204, 0]),
    "no window, one value": ([7, 7, 7], {}, "", [0, 0, 0]),
    "no window, 32 bits": ([0, 1_000_000, 2_000_000, 5_000_000], {"allocated": 32}, "", [0, 51, 102, 255]),
    "no window, padding": ([0xF830, 10, 60, 20], {"padding": 0xF830}, "", [0, 0, 255, 51]),
    "no window, a range of padding": (
        [-2000, -1990, 10, 60, 20],
        {"signed": 1, "padding": -2000, "padding_limit": -1990},
        "",
        [0, 0, 0, 255, 51],
    ),
    "padding, MONOCHROME1": ([0, 10, 60], {"padding": 0, "photometric": "MONOCHROME1"}, "", [0, 255, 0]),
    "8 bits": ([0, 1, 127, 255], {"allocated": 8}, "", [0, 1, 127, 255]),
    "8 bits, MONOCHROME1": (
        [0, 1, 127, 255],
        {"allocated": 8, "photometric": "MONOCHROME1"},
        "",
        [255, 254, 128, 0],
    ),
    "8 bits, rescaled": ([0, 50, 250], {"allocated": 8, "slope": 2, "intercept": 5}, "", [0, 51, 255]),
    # 100 of 300 is 85, 200 is 170; what lies outside the table is its nearest end
    "modality LUT": (
        [0, 11, 12, 99],
        {"modality_lut": [LUT], "center": 150, "width": 300, "function": "LINEAR_EXACT"},
        "",
        [0, 85, 170, 255],
    ),
    "VOI LUT, before a window": (
        [0, 1034, 1035, 1036, 1037, 9999],
        {**HU, "voi_lut": [LUT | {"lut_data": [0, 0x5555, 0xAAAA, 0xFFFF]}], **SOFT},
        "",
        [0, 0, 85, 170, 255, 255],
    ),
    "VOI LUT of 8 bits from -2": (
        [-3, -2, -1, 0, 1],
        {"signed": 1, "voi_lut": [{"lut_descriptor": [3, -2, 8], "lut_data": bytes([10, 20, 30])}]},
        "",
        [10, 10, 20, 30, 30],
    ),
    "enhanced, shared groups": ([864, 1064, 1263], {"frames": 1, "shared_groups": SHARED}, "", [0, 128, 255]),
    "enhanced, group of the frame": (
        [864, 1064, 1263],
        {"shared_groups": [{"frame_rescale": [HU]}], "frame_groups": [{"frame_window": [SOFT]}]},
        "",
        [0, 128, 255],
    ),
    # lung: -600.5 - 749.5 = -1350 to 149; -600 at (750 / 1499) * 255
    "setting lung": ([0, 424, 1173], {**HU, **SOFT}, "lung", [55, 128, 255]),
    "setting mediastinum": ([864, 1064, 1263], HU, "mediastinum", [0, 128, 255]),
    "setting of numbers": ([0, 40, 100], {"center": 7, "width": 9}, "40,400", [102, 128, 166]),
    "setting before VOI LUT": ([864, 1064], {**HU, "voi_lut": [LUT]}, "40,400", [0, 128]),
}


def grey(tmp_path, content: bytes, window: str = "") -> list[int]:
    path = tmp_path / "slice"
    path.write_bytes(content)
    pixels = read_image(path, config.Image(window=window)).pixels
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].ravel().tolist()


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_grey_values_are_those_computed_by_hand(name, syntax, tmp_path):
    stored, values, window, expected = GOLDEN[name]
    assert grey(tmp_path, image(stored, syntax=syntax, **values), window) == expected


def test_a_deflated_file_is_as_its_plain_twin(tmp_path):
    stored, values, _, expected = GOLDEN["LINEAR"]
    deflate = zlib.compressobj(wbits=-15)
    pixels = np.array(stored, "<u2").tobytes()
    data = elements(header(1, 5, **values) | {"pixels": pixels})
    assert grey(tmp_path, part10(deflate.compress(data) + deflate.flush(), DEFLATED)) == expected


def test_a_file_without_preamble_is_as_its_twin(tmp_path):
    stored, values, _, expected = GOLDEN["LINEAR"]
    for how in ({}, {"implicit": True}):
        pixels = np.array(stored, "<u2").tobytes()
        assert grey(tmp_path, elements(header(1, 5, **values) | {"pixels": pixels}, **how)) == expected


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_monochrome1_and_its_monochrome2_twin_are_identical(function, tmp_path):
    """The twin holds 4095 - x; a LINEAR window is not symmetric about its centre but about centre - 0.5."""
    stored = np.random.default_rng(1).integers(0, 4096, (32, 32))
    windows = [{}, {}]
    if function:
        mirrored = 4095 - 1700 + (function == "LINEAR")
        windows = [{"center": c, "width": 1201, "function": function} for c in (1700, mirrored)]
    second = image(stored, stored=12, photometric="MONOCHROME2", **windows[0])
    first = image(4095 - stored, stored=12, photometric="MONOCHROME1", **windows[1])
    assert grey(tmp_path, first) == grey(tmp_path, second)


NOTED = {
    "no window": ({}, "", "--window makes images comparable"),
    "a narrow window": ({"center": 0.5, "width": 0.5}, "", "read as LINEAR_EXACT"),
    "a negative width": ({"center": 2, "width": -3}, "", "negative width, read as if positive"),
    "a preset on another modality": ({"modality": "MR", **HU}, "lung", "not a CT in Hounsfield units"),
    "a preset without rescale": ({}, "mediastinum", "not a CT in Hounsfield units"),
    "a decimal comma": ({"center": "1,5", "width": 3}, "", "decimal comma"),
    "lower case": ({**SOFT, "photometric": "monochrome2"}, "", "in lower case"),
    "a window": ({**HU, **SOFT}, "", ""),
    "a preset": (HU, "lung", ""),
}


@pytest.mark.parametrize("name", NOTED)
def test_only_doubtful_grey_is_noted(name, tmp_path):
    values, window, expected = NOTED[name]
    path = tmp_path / "slice.dcm"
    path.write_bytes(image([0, 5], **values))
    notes = read_image(path, config.Image(window=window)).notes
    assert len(notes) == bool(expected)
    assert all(note.startswith(str(path)) and expected in note for note in notes)


REFUSED_GREY = {
    "a window of no width": {"center": 40, "width": 0},
    "an unknown function": {**SOFT, "function": "CUBIC"},
    "a window that is no number": {"center": "forty", "width": 400},
    "a window that is NaN": {"center": "nan", "width": 400},
    "a slope of 0": {"slope": 0, "intercept": 5},
    "a slope beyond all sense": {"slope": "1e300", "intercept": 0},
    "a LUT longer than its data": {"voi_lut": [LUT | {"lut_descriptor": [5, 0, 16]}]},
    "a LUT without descriptor": {"voi_lut": [{"lut_data": [1, 2]}]},
    "a LUT of 17 bits": {"modality_lut": [LUT | {"lut_descriptor": [4, 0, 17]}]},
}


@pytest.mark.parametrize("name", REFUSED_GREY)
def test_grey_that_cannot_be_known_is_refused(name, tmp_path):
    with pytest.raises(DataError, match=r"slice: expected an image .* found "):
        grey(tmp_path, image([0, 5], **REFUSED_GREY[name]))


# -- colour

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


def test_ybr_422_that_is_not_subsampled_is_read_by_its_length(tmp_path):
    """Two values a pixel if it is subsampled, as (Y, Y, blue, red), and three if only its header says so."""
    full = [[[76, 85, 255], [76, 85, 255], [128, 128, 128], [128, 128, 128]]]
    shared = bytes([76, 76, 85, 255, 128, 128, 128, 128])
    expected = read(tmp_path, image(full, **RGB | {"photometric": "YBR_FULL"}))
    values = RGB | {"photometric": "YBR_FULL_422"}
    np.testing.assert_array_equal(read(tmp_path, image(full, **values)), expected)
    np.testing.assert_array_equal(read(tmp_path, image(full, **values | {"pixel_bytes": shared})), expected)


def test_odd_big_endian_words_keep_the_last_channel(tmp_path):
    """Of 27 bytes in words of two the last stands behind the padding."""
    colours = np.arange(27).reshape(3, 3, 3) * 9
    swapped = np.append(colours.ravel(), 0).astype(np.uint8).view("<u2").byteswap().tobytes()
    content = image(colours, syntax=BIG_ENDIAN, **RGB | {"pixel_bytes": None, "pixels": swapped})
    np.testing.assert_array_equal(read(tmp_path, content), colours)


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


REFUSED_COLOURS = {
    "signed colours": {**RGB, "signed": 1},
    "colours of 6 bits": {**RGB, "stored": 6},
    "colour of one sample": {**RGB, "samples": 1},
    "grey of three samples": {**RGB, "photometric": "MONOCHROME2"},
    "an unknown colour space": {**RGB, "photometric": "CMYK"},
    "no palette": {**PALETTE, "green": None},
    "a palette of another length": {**PALETTE, "blue": [1, 2]},
}


@pytest.mark.parametrize("name", REFUSED_COLOURS)
def test_colours_that_cannot_be_known_are_refused(name, tmp_path):
    with pytest.raises(DataError, match=r"found DICOM (with|whose)"):
        read(
            tmp_path,
            image(COLOURS if "RGB" in str(REFUSED_COLOURS[name]) else [1, 2], **REFUSED_COLOURS[name]),
        )
