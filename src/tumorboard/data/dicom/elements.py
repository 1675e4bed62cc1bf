"""Find data elements in a DICOM data set without trusting a length or a nesting in it.

Only the elements that are asked for are kept; all else, names of patients among it, is stepped over
unread. pydicom decodes our pixels but does not parse our headers: its parser builds an object for every
element of every sequence and recurses into them, so that a small file can fill the memory, and its
messages quote values, which may identify a patient.
"""

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF

_MAX_ELEMENTS = 100_000
_MAX_DEPTH = 32
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})


class DicomError(ValueError):
    """A DICOM file that cannot be used; the message continues "found ..." and quotes no header value.

    Args:
        found: What was found.
        remedy: What to do, if it is not to repair or remove the file.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written."""

    implicit: bool
    little: bool

    @property
    def order(self) -> str:
        """The byte order as `struct` and NumPy write it."""
        return "<" if self.little else ">"


@dataclass(frozen=True, slots=True)
class Element:
    """The beginning of an element; `vr` is empty where none is written."""

    tag: int
    vr: bytes
    length: int


class Budget:
    """How many elements may still be looked at, all nested ones included."""

    def __init__(self, elements: int = _MAX_ELEMENTS) -> None:
        self._left = elements

    def spend(self) -> None:
        """Count one element.

        Raises:
            DicomError: There were too many.
        """
        self._left -= 1
        if self._left < 0:
            raise DicomError(f"a DICOM header of more than {_MAX_ELEMENTS} elements")


def read_element(file: BinaryIO, encoding: Encoding) -> Element | None:
    """The element, item or delimiter at the file's position, which moves to its value; None at the end."""
    head = file.read(8)
    if len(head) < 8:
        return None
    group, number = struct.unpack(encoding.order + "HH", head[:4])
    tag, vr = group << 16 | number, head[4:6]
    # Some writers change to implicit inside explicit data sets: a VR is two capital letters.
    if group == 0xFFFE or encoding.implicit or not is_vr(vr):
        return Element(tag, b"", struct.unpack(encoding.order + "I", head[4:])[0])
    if vr not in _LONG:
        return Element(tag, vr, struct.unpack(encoding.order + "H", head[6:])[0])
    length = file.read(4)
    return Element(tag, vr, struct.unpack(encoding.order + "I", length)[0]) if len(length) == 4 else None


def is_vr(letters: bytes) -> bool:
    """Whether these two bytes may be a value representation."""
    return len(letters) == 2 and letters.isalpha() and letters.isupper()


def step_over(file: BinaryIO, element: Element, encoding: Encoding, budget: Budget) -> None:
    """Move to the end of an element's value, through nested sequences without recursion.

    Raises:
        DicomError: Cut off inside a sequence, nested too deep, or too many elements.
    """
    if element.length != UNDEFINED:
        file.seek(element.length, io.SEEK_CUR)
        return
    inside = [_within(element, encoding)]
    while inside:
        budget.spend()
        found = read_element(file, inside[-1])
        if found is None:
            raise DicomError("a DICOM file that is cut off")
        if found.tag in (ITEM_END, SEQUENCE_END):
            inside.pop()
        elif found.length == UNDEFINED:
            inside.append(_within(found, inside[-1]))
        else:
            file.seek(found.length, io.SEEK_CUR)
        if len(inside) > _MAX_DEPTH:
            raise DicomError(f"DICOM sequences nested more than {_MAX_DEPTH} deep")


def _within(element: Element, encoding: Encoding) -> Encoding:
    return Encoding(True, True) if element.vr == b"UN" else encoding
