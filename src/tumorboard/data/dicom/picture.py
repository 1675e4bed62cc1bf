"""Read one DICOM object as an RGB picture of 8 bits.

The rules are in `grey` and `colour`, the limits in `head` and `pixels`. Of
everything that may identify a patient nothing is read here, and no message quotes a header.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import BinaryIO

import numpy as np

from tumorboard.config import Window
from tumorboard.data.dicom import head
from tumorboard.data.dicom.elements import DicomError
from tumorboard.data.dicom.head import Header, Tag
from tumorboard.data.pixels import Pixels

INSTALL = "pip install 'tumorboard[dicom]'"
BURNED_IN = "may carry burned-in text ({}): its header says so, the pixels were not searched"
PROGRAM = "begins with a program ({}), which DICOM allows and attackers use; do not run it or pass it on"

_PROGRAMS = {
    b"MZ": "Windows",
    b"\x7fELF": "Linux",
    b"\xcf\xfa\xed\xfe": "macOS",
    b"\xce\xfa\xed\xfe": "macOS",
    b"\xca\xfe\xba\xbe": "macOS",
    b"#!": "a script",
}
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_ULTRASOUND = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("3", "3.1", "6", "6.1", "6.2"))


@dataclass(frozen=True, slots=True)
class Picture:
    """A DICOM image as it is shown.

    Args:
        pixels: uint8 (H, W, 3), RGB, 0-255.
        rule: How values became grey (see `grey`), or "RGB", "PALETTE COLOR".
        notes: What the user should know, without the file's name.
    """

    pixels: Pixels
    rule: str
    notes: tuple[str, ...]


def read(file: BinaryIO, window: Window | None, max_pixels: int) -> Picture:
    """Read a recognised DICOM file.

    Args:
        file: At its beginning.
        window: Which values become black and white; None for the file's own window.
        max_pixels: More than this are refused before decoding.

    Raises:
        DicomError: The object has no single readable image, or reading it needs a package.
    """
    if find_spec("pydicom") is None:
        raise DicomError("DICOM, which needs a package that is not installed", INSTALL)
    # pydicom is imported only if there is DICOM
    from tumorboard.data.dicom.colour import colour, palette
    from tumorboard.data.dicom.grey import grey
    from tumorboard.data.dicom.pixels import stored_pixels

    header = head.read(file)
    stored, layout = stored_pixels(header, max_pixels)
    if layout.samples > 1:
        return Picture(colour(stored, layout), "RGB", _notes(header))
    if layout.photometric == "PALETTE COLOR":
        pixels = palette(stored, layout, header.data)
        return Picture(pixels, "PALETTE COLOR", _notes(header))
    shades, rule, notes = grey(stored, layout, header, window)
    return Picture(np.repeat(shades[..., np.newaxis], 3, axis=2), rule, _notes(header) + notes)


def _notes(header: Header) -> tuple[str, ...]:
    reasons = []
    if header.data.text(Tag.BURNED_IN) == "YES":
        reasons.append("BurnedInAnnotation is YES")
    if header.sop_class == _SECONDARY or header.sop_class.startswith(f"{_SECONDARY}."):
        reasons.append("secondary capture")
    if header.sop_class in _ULTRASOUND or header.data.text(Tag.MODALITY) == "US":
        reasons.append("ultrasound")
    burned_in = (BURNED_IN.format(", ".join(reasons)),) if reasons else ()
    return burned_in + tuple(PROGRAM.format(k) for b, k in _PROGRAMS.items() if header.head.startswith(b))
