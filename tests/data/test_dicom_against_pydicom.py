"""Pixels and colours beside pydicom's own decoding: of all files that come with it, and of every layout."""

import io
import itertools
import warnings
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

from tumorboard.data import sandbox
from tumorboard.data.dicom import worker
from tumorboard.data.dicom.header import explained, read_header
from tumorboard.data.dicom.pixels import stored_pixels
from tumorboard.data.dicom.reader import recognised

from .dicoms import BIG_ENDIAN, EXPLICIT, IMPLICIT, PYDICOMS, elements, header, image, part10

REFUSED = {
    "SC_rgb_rle_16bit_2frame.dcm": "2 frames",
    "SC_rgb_rle_2frame.dcm": "2 frames",
    "SC_rgb_rle_32bit.dcm": "32 of 32 bits",
    "SC_rgb_rle_32bit_2frame.dcm": "2 frames",
    "examples_ybr_color.dcm": "30 frames",
    "rtdose.dcm": "15 frames",
    "rtdose_expb.dcm": "15 frames",
    "rtdose_rle.dcm": "15 frames",
}
"""What pydicom decodes and we do not: see docs/dicom.md."""


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sandbox, "limit_time", lambda seconds: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ours(content: bytes) -> np.ndarray | str:
    """Stored values, or why they are refused."""
    try:
        return stored_pixels(read_header(io.BytesIO(content)), 10**8)[0]
    except Exception as error:
        return str(explained(error))


def theirs(content: bytes) -> np.ndarray | None:
    """Stored values, YBR converted to RGB; None if pydicom fails."""
    try:
        return pixel_array(pydicom.dcmread(io.BytesIO(content), force=True))
    except Exception:
        return None


def test_all_of_pydicoms_files_have_the_values_that_it_decodes():
    equal, refused = [], {}
    for name, path in PYDICOMS.items():
        content = path.read_bytes()
        found, expected = (ours(content), theirs(content)) if recognised(content[:132]) else ("", None)
        if isinstance(found, str):
            refused |= {name: found} if expected is not None else {}
        else:
            np.testing.assert_array_equal(found, expected, name)
            equal.append(name)
    assert len(equal) == 80
    assert refused.keys() == REFUSED.keys()
    assert all(reason in refused[name] for name, reason in REFUSED.items())


def test_colours_palettes_and_grey_without_a_window_are_those_of_pydicom():
    """The other rules than windows, see `test_dicom_reader`, on all its files that take them."""
    compared = []
    for name, path in PYDICOMS.items():
        if not recognised(path.read_bytes()[:132]) or isinstance(ours(path.read_bytes()), str):
            continue
        pixels, rule, _ = worker.image(io.BytesIO(path.read_bytes()), None, 10**8)
        data = pydicom.dcmread(path, force=True)
        expected = pixel_array(data).astype(np.float64)
        if rule == "RGB":
            expected = expected // (1 << data.BitsStored - 8)
        elif rule == "PALETTE COLOR":
            expected = apply_color_lut(pixel_array(data), data) >> 8
        elif rule == "full range":
            expected = apply_modality_lut(expected, data)
            padding = data.get("PixelPaddingValue")
            real = expected[pixel_array(data) != padding] if padding is not None else expected
            expected = (expected - real.min()) / max(real.max() - real.min(), 1) * 255
            expected[pixel_array(data) == padding] = 0
        elif rule != "as stored":
            continue
        if data.PhotometricInterpretation == "MONOCHROME1":
            expected = 255 - expected
        assert np.abs(pixels - expected).max() <= 0.5 + 1e-6, (name, rule)
        compared.append(rule)
    counts = {rule: compared.count(rule) for rule in compared}
    assert counts == {"RGB": 27, "full range": 8, "as stored": 2, "PALETTE COLOR": 1}


LAYOUTS = [
    layout
    for layout in itertools.product(
        ("RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME2"),
        (0, 1),
        ((1, 1), (3, 3), (5, 3), (4, 6), (7, 2)),
        (IMPLICIT, EXPLICIT, BIG_ENDIAN),
        ((8, "OB"), (8, "OW"), (16, "OW")),
    )
    if not (layout[0] == "MONOCHROME2" and layout[1])
    and not (layout[0] == "YBR_FULL_422" and (layout[1] or layout[2][1] % 2))
]


def layout_file(values: np.ndarray, photometric: str, planar: int, syntax: str, bits: int, vr: str) -> bytes:
    """A file of the values in that layout, of bytes in words of two where the VR says so."""
    order, in_colour = ">" if syntax == BIG_ENDIAN else "<", values.ndim == 3
    stored = values.transpose(2, 0, 1) if planar else values
    if photometric == "YBR_FULL_422":
        pairs = values.reshape(-1, 2, 3)
        stored = np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=-1)
    content = stored.astype(f"{order}u{bits // 8}").tobytes()
    content += b"\0" * (len(content) % 2)
    if (bits, vr, order) == (8, "OW", ">"):
        content = np.frombuffer(content, "<u2").byteswap().tobytes()
    data = header(
        *values.shape[:2],
        photometric=photometric,
        samples=3 if in_colour else 1,
        planar=planar if in_colour else None,
        allocated=bits,
    ) | {"pixel_bytes" if vr == "OB" else "pixels": content}
    return part10(elements(data, order=order, implicit=syntax == IMPLICIT), syntax)


def test_all_native_layouts_have_the_values_that_pydicom_decodes():
    """Colour spaces, planes, odd sizes, byte orders, words; RGB and grey also as they were put in."""
    assert len(LAYOUTS) == 243
    random = np.random.default_rng(0)
    for photometric, planar, size, syntax, (bits, vr) in LAYOUTS:
        shape = size if photometric == "MONOCHROME2" else (*size, 3)
        values = random.integers(0, 1 << bits, shape)
        content = layout_file(values, photometric, planar, syntax, bits, vr)
        found, case = ours(content), (photometric, planar, size, syntax, bits, vr)
        if photometric != "RGB" and bits == 16 and len(shape) == 3:
            assert found == "DICOM with 16 of 16 bits per value, which is not read"
            assert theirs(content) is None
            continue
        np.testing.assert_array_equal(found, theirs(content), str(case))
        if photometric in ("RGB", "MONOCHROME2"):
            np.testing.assert_array_equal(found, values, str(case))


def test_ybr_422_that_is_not_subsampled_is_where_we_differ():
    """pydicom takes the header's word for it and fails; here the length of the pixels decides."""
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 3))
    truth = theirs(layout_file(values, "YBR_FULL", 0, EXPLICIT, 8, "OB"))
    mislabelled = image(values, photometric="YBR_FULL_422", samples=3, planar=0, allocated=8)
    np.testing.assert_array_equal(ours(mislabelled), truth)
    assert theirs(mislabelled) is None
