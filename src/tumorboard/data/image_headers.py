"""What a file says about its image apart from the pixels: what a shortcut could be learned from."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from tumorboard.data.dicom import head
from tumorboard.data.dicom.dataset import scan
from tumorboard.data.dicom.elements import Budget, Encoding
from tumorboard.data.dicom.head import HEAD_BYTES, Tag
from tumorboard.data.image_reader import FORMATS
from tumorboard.data.pixels import FAILURES, readers_quiet

_DEPTHS = {"1": 1, "I": 32, "F": 32}
_DEPTH = re.compile(r";(\d+)")
_META_END, _PATIENT_END = 0x00030000, 0x00110000
_IDENTIFIERS = {
    0x00080050: "AccessionNumber",
    0x00080080: "InstitutionName",
    0x00080090: "ReferringPhysicianName",
    0x00100010: "PatientName",
    0x00100020: "PatientID",
    0x00100030: "PatientBirthDate",
    0x00101040: "PatientAddress",
}


@dataclass(frozen=True, slots=True)
class Header:
    """How an image is stored.

    Args:
        format: PNG, JPEG, BMP, TIFF, WEBP, DICOM; "" if it could not be told.
        mode: Of the pixels, as Pillow names it (L, RGB, RGBA, P, I;16 ...) or as DICOM does.
        bits: Of each value as stored.
        several: Whether there is more than one frame or page.
        identifiers: Names of the DICOM elements that identify somebody and are not empty; never a value.
    """

    format: str
    mode: str
    bits: int
    several: bool = False
    identifiers: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read the header of an image that `reading` can read; decodes nothing, raises nothing."""
    try:
        with readers_quiet(), path.open("rb") as file:
            dicom = head.recognised(file.read(HEAD_BYTES))
            file.seek(0)
            return _dicom(file) if dicom else _picture(file)
    except FAILURES:
        return Header("", "", 0)


def _picture(file: BinaryIO) -> Header:
    with Image.open(file, formats=FORMATS) as image:
        several = bool(getattr(image, "is_animated", False))
        return Header(image.format or "", image.mode, _bits(image), several)


def _bits(image: Image.Image) -> int:
    """Pillow shows some 16-bit pixels as 8-bit ones, but not where it says how they are packed."""
    for tile in image.tile:  # type: ignore[attr-defined]
        raw = tile[3][0] if isinstance(tile[3], tuple) else tile[3]
        packed = _DEPTH.search(str(raw))
        if packed:
            return int(packed[1])
    return 16 if image.mode.startswith("I;16") else _DEPTHS.get(image.mode, 8)


def _dicom(file: BinaryIO) -> Header:
    header = head.read(file)
    bits = header.data.integers(Tag.STORED)
    return Header(
        "DICOM", header.data.text(Tag.PHOTOMETRIC), bits[0] if bits else 0, False, _identifiers(header)
    )


def _identifiers(header: head.Header) -> tuple[str, ...]:
    file, budget = header.file, Budget()
    inflated = header.syntax == head.DEFLATED
    file.seek(0 if inflated or header.head[128:] != b"DICM" else HEAD_BYTES)
    if not inflated:
        scan(file, Encoding(implicit=False, little=True), (), _META_END, budget)
    found = scan(file, header.data.encoding, _IDENTIFIERS, _PATIENT_END, budget)
    return tuple(name for tag, name in _IDENTIFIERS.items() if found.raw(tag).strip(b" \0"))
