"""From stored colours, or palette indices, to RGB of 8 bits."""

import numpy as np
import numpy.typing as npt

from tumorboard.data.dicom.dataset import DataSet
from tumorboard.data.dicom.elements import DicomError
from tumorboard.data.dicom.head import Tag
from tumorboard.data.dicom.lut import table
from tumorboard.data.dicom.pixels import Layout
from tumorboard.data.pixels import Pixels

_PALETTES = (
    (Tag.RED_DESCRIPTOR, Tag.RED),
    (Tag.GREEN_DESCRIPTOR, Tag.GREEN),
    (Tag.BLUE_DESCRIPTOR, Tag.BLUE),
)


def colour(stored: npt.NDArray[np.integer], layout: Layout) -> Pixels:
    """RGB of 8 bits; of more bits the highest 8, as in other formats.

    Args:
        stored: Unsigned integers (H, W, 3), RGB.
        layout: How they were stored.

    Raises:
        DicomError: Signed colours, or fewer than 8 bits.
    """
    if layout.signed or layout.stored < 8:
        raise DicomError("DICOM with signed colours, or of fewer than 8 bits")
    return (stored >> (layout.stored - 8)).astype(np.uint8)


def palette(stored: npt.NDArray[np.integer], layout: Layout, data: DataSet) -> Pixels:
    """Look up palette indices (H, W) in the palettes of red, green and blue; uint8 (H, W, 3).

    Raises:
        DicomError: A palette is missing, or segmented, or does not fit its descriptor.
    """
    if any(entries not in data for _, entries in _PALETTES):
        raise DicomError("DICOM with a palette that is missing or segmented", "save it in RGB")
    channels = []
    for descriptor, entries in _PALETTES:
        lut = table(data, descriptor, entries, layout.signed)
        # Entries fill the bits that the descriptor names: 16 or 8.
        shift = 8 if lut.bits > 8 else 0
        channels.append(lut(stored.astype(np.float64)).astype(np.uint16) >> shift)
    return np.stack(channels, axis=-1).astype(np.uint8)
