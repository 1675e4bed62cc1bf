"""Lookup tables: of the modality, of the values of interest, and of palettes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.data.dicom.dataset import DataSet
from tumorboard.data.dicom.elements import DicomError
from tumorboard.data.dicom.head import Tag

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lut:
    """A lookup table: `table[value - first]`, the ends repeated; `bits` of an entry."""

    first: int
    bits: int
    table: npt.NDArray[np.uint16]

    def __call__(self, values: Values) -> Values:
        """The entries for these values, as float64."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.table) - 1)
        entries: Values = self.table[index.astype(np.int64)].astype(np.float64)
        return entries


def lut(item: DataSet, signed: bool) -> Lut:
    """The table of an item of a modality or VOI LUT sequence.

    Raises:
        DicomError: Its descriptor and its data do not fit each other.
    """
    return table(item, Tag.LUT_DESCRIPTOR, Tag.LUT_DATA, signed)


def table(data: DataSet, descriptor: int, entries: int, signed: bool) -> Lut:
    """A table whose descriptor is (entries, first value, bits).

    Raises:
        DicomError: Its descriptor and its data do not fit each other.
    """
    found = data.integers(descriptor)
    raw = data.raw(entries)
    count = (found[0] & 0xFFFF or 1 << 16) if len(found) == 3 else 0
    if not count or not 1 <= found[2] <= 16 or not _fits(len(raw), count, found[2]):
        raise DicomError("DICOM with a lookup table that does not fit its descriptor")
    first = found[1] & 0xFFFF
    size = "u2" if len(raw) == 2 * count else "u1"
    values = np.frombuffer(raw, data.encoding.order + size)[:count].astype(np.uint16)
    return Lut(first - (1 << 16) if signed and first >= 1 << 15 else first, found[2], values)


def _fits(length: int, count: int, bits: int) -> bool:
    """Entries take a word each; of up to 8 bits also a byte each, padded to an even number."""
    return length == 2 * count or (bits <= 8 and length == count + count % 2)
