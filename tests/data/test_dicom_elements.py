import io
import struct

import pytest

from tumorboard.data.dicom.dataset import scan
from tumorboard.data.dicom.elements import Budget, DicomError, Encoding, read_element, step_over

from .dicoms import element

EXPLICIT, IMPLICIT = Encoding(implicit=False, little=True), Encoding(implicit=True, little=True)
SEQUENCE, NAME, ROWS = 0x00081140, 0x00100010, 0x00280010
ITEM, OPEN, ITEM_END, END = (
    struct.pack("<HHI", 0xFFFE, number, length)
    for number, length in ((0xE000, 8), (0xE000, 0xFFFFFFFF), (0xE00D, 0), (0xE0DD, 0))
)
TWO = element(ROWS, "US", b"\2\0")


def undefined(vr: bytes, content: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH2sHI", 0x0008, 0x1140, vr, 0, 0xFFFFFFFF) + content


NESTED = {
    "nothing": undefined(b"SQ", END),
    "an item of defined length": undefined(b"SQ", ITEM + b"whatever" + END),
    "an item of undefined length": undefined(b"SQ", OPEN + element(NAME, "PN", b"AB") + ITEM_END + END),
    "sequences in sequences": undefined(
        b"SQ", OPEN + undefined(b"SQ", OPEN + ITEM_END + END) + ITEM_END + END
    ),
    "UN, which is implicit inside": undefined(
        b"UN", OPEN + element(NAME, "", b"ABCDEFGH", implicit=True) + ITEM_END + END
    ),
    "explicit again after UN": undefined(
        b"SQ",
        OPEN
        + undefined(b"UN", OPEN + element(NAME, "", b"AB", implicit=True) + ITEM_END + END)
        + element(NAME, "OB", b"AB")
        + ITEM_END
        + END,
    ),
    "an implicit element in an explicit data set": element(SEQUENCE, "", b"AB", implicit=True),
}


@pytest.mark.parametrize("name", NESTED)
def test_what_follows_a_sequence_is_found(name):
    found = scan(io.BytesIO(NESTED[name] + TWO), EXPLICIT, {ROWS}, 0x7FE00000, Budget())
    assert found.integers(ROWS) == (2,)


def test_a_sequence_that_does_not_end_is_refused():
    file = io.BytesIO(undefined(b"SQ", OPEN + TWO))
    sequence = read_element(file, EXPLICIT)
    with pytest.raises(DicomError, match="cut off"):
        step_over(file, sequence, EXPLICIT, Budget())


def test_depth_is_limited_and_not_by_the_stack():
    for depth, refused in ((10, False), (100_000, True)):
        data = (undefined(b"SQ", OPEN)) * depth + (ITEM_END + END) * depth + TWO
        if not refused:
            assert scan(io.BytesIO(data), EXPLICIT, {ROWS}, 0x7FE00000, Budget()).integers(ROWS) == (2,)
            continue
        with pytest.raises(DicomError, match="nested more than 32 deep"):
            scan(io.BytesIO(data), EXPLICIT, {ROWS}, 0x7FE00000, Budget())


def test_the_budget_counts_nested_elements():
    data = undefined(b"SQ", OPEN + TWO * 5 + ITEM_END + END) + TWO
    scan(io.BytesIO(data), EXPLICIT, {ROWS}, 0x7FE00000, Budget(11))
    with pytest.raises(DicomError, match="elements"):
        scan(io.BytesIO(data), EXPLICIT, {ROWS}, 0x7FE00000, Budget(10))


def test_a_scan_stops_at_its_end_and_leaves_the_file_there():
    file = io.BytesIO(TWO + TWO)
    assert not scan(file, EXPLICIT, {ROWS}, ROWS, Budget()).values
    assert file.tell() == 0


def test_integers_follow_their_vr_and_byte_order():
    data = element(ROWS, "SS", b"\xff\xff") + element(0x00280011, "UL", b"\1\0\0\0")
    found = scan(io.BytesIO(data), EXPLICIT, {ROWS, 0x00280011}, 0x7FE00000, Budget())
    assert (found.integers(ROWS), found.integers(0x00280011)) == ((-1,), (1,))
    big = element(ROWS, "US", b"\1\2", order=">")
    assert scan(io.BytesIO(big), Encoding(False, False), {ROWS}, 0x7FE00000, Budget()).integers(ROWS) == (
        258,
    )


def test_the_first_item_is_read_whatever_its_length_and_encoding():
    items = {
        "defined": element(SEQUENCE, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(TWO)) + TWO),
        "undefined": undefined(b"SQ", OPEN + TWO + ITEM_END + END),
        "UN": undefined(b"UN", OPEN + element(ROWS, "", b"\2\0", implicit=True) + ITEM_END + END),
    }
    for name, data in items.items():
        found = scan(io.BytesIO(data), EXPLICIT, {SEQUENCE}, 0x7FE00000, Budget())
        assert found.first_item(SEQUENCE, {ROWS}).integers(ROWS) == (2,), name
        assert not found.first_item(NAME, {ROWS}).values
