"""The elements of a DICOM data set that were asked for, and their values."""

import io
import math
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from tumorboard.data.dicom.elements import (
    ITEM,
    ITEM_END,
    UNDEFINED,
    Budget,
    DicomError,
    Encoding,
    read_element,
    step_over,
)

_MAX_VALUE = 1 << 20
_INTEGERS = {b"UL": "I", b"SL": "i", b"SS": "h"}


@dataclass(frozen=True, slots=True)
class DataSet:
    """The elements that were asked for, as bytes, and how to read them."""

    values: Mapping[int, tuple[bytes, bytes]]
    encoding: Encoding

    def __contains__(self, tag: int) -> bool:
        return bool(self.values.get(tag, (b"", b""))[1])

    def text(self, tag: int) -> str:
        """A code, identifier or number as text; "" if it is not there."""
        return self.raw(tag).decode("ascii", "replace").strip(" \0")

    def raw(self, tag: int) -> bytes:
        """The bytes of a value; empty if it is not there."""
        return self.values.get(tag, (b"", b""))[1]

    def integers(self, tag: int) -> tuple[int, ...]:
        """Binary integers, by default unsigned of 16 bits.

        Raises:
            DicomError: Bytes that are no whole number of integers.
        """
        vr, value = self.values.get(tag, (b"", b""))
        code = _INTEGERS.get(vr, "H")
        if len(value) % struct.calcsize(code):
            raise _no_number(tag)
        return tuple(number[0] for number in struct.iter_unpack(self.encoding.order + code, value))

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Decimal strings.

        Raises:
            DicomError: Text that is no finite number.
        """
        text = self.text(tag)
        try:
            numbers = tuple(float(part) for part in text.split("\\")) if text else ()
        except ValueError:
            raise _no_number(tag) from None
        if not all(map(math.isfinite, numbers)):
            raise _no_number(tag)
        return numbers

    def first_item(self, tag: int, wanted: Collection[int]) -> "DataSet":
        """The first item of a sequence; empty if there is none.

        Raises:
            DicomError: The sequence is damaged.
        """
        vr, value = self.values.get(tag, (b"", b""))
        # What somebody wrote as UN was implicit little endian before that.
        encoding = Encoding(True, True) if vr == b"UN" else self.encoding
        file, budget = io.BytesIO(value), Budget()
        item = read_element(file, encoding)
        if item is None or item.tag != ITEM:
            return DataSet({}, encoding)
        start = file.tell()
        step_over(file, item, encoding, budget)
        return scan(io.BytesIO(value[start : file.tell()]), encoding, wanted, UNDEFINED, budget)


def scan(file: BinaryIO, encoding: Encoding, wanted: Collection[int], until: int, budget: Budget) -> DataSet:
    """Collect elements up to the first tag that is not below `until`, or the end of the data set.

    Args:
        file: Positioned at an element; left at the first one that was not taken.
        encoding: How the elements are written.
        wanted: The tags to keep.
        until: Where to stop.
        budget: How many elements may be looked at.

    Raises:
        DicomError: Too many elements, too large a value, nested too deep, or cut off.
    """
    values: dict[int, tuple[bytes, bytes]] = {}
    while True:
        start = file.tell()
        budget.spend()
        found = read_element(file, encoding)
        if found is None or found.tag >= until or found.tag == ITEM_END:
            file.seek(start)
            return DataSet(values, encoding)
        at = file.tell()
        step_over(file, found, encoding, budget)
        if found.tag in wanted:
            values[found.tag] = found.vr, _value(file, at, file.tell())


def _value(file: BinaryIO, start: int, end: int) -> bytes:
    if end - start > _MAX_VALUE:
        raise DicomError(f"a DICOM header value of {end - start} bytes")
    file.seek(start)
    value = file.read(end - start)
    if len(value) < end - start:
        raise DicomError("a DICOM file that is cut off")
    return value


def _no_number(tag: int) -> DicomError:
    return DicomError(f"a DICOM header whose element ({tag >> 16:04X},{tag & 0xFFFF:04X}) is no number")
