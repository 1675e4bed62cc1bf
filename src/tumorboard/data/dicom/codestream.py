"""What a compressed frame says about its own size, read before any decoder sees it.

A decoder allocates what the codestream asks for, whatever the DICOM header says: one changed byte made
OpenJPEG take 8.9 GB for an image of 100 x 100. So the two must agree first.
"""

import struct
from typing import NamedTuple

from tumorboard.data.dicom.elements import DicomError

_JPEG, _J2K, _JP2 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
# SOF0-SOF15 without DHT, JPG and DAC; SOF55 is JPEG-LS.
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_MAX_TILES = 4096


class Size(NamedTuple):
    """The frame of a codestream; `bits` of one sample."""

    rows: int
    columns: int
    samples: int
    bits: int


def begins(data: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 image begins here."""
    return data.startswith((_JPEG, _J2K, _JP2))


def size(data: bytes) -> Size:
    """The size of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Raises:
        DicomError: None of these, or no size in it.
    """
    try:
        if data.startswith(_JPEG):
            return _jpeg(data)
        start = data.find(_J2K, 0, 4096) if data.startswith(_JP2) else 0
        if start >= 0 and data.startswith(_J2K, start):
            return _jpeg2000(data, start)
    except (struct.error, IndexError):
        pass
    raise DicomError("DICOM whose compressed pixels are damaged or of another kind than its header says")


def _jpeg(data: bytes) -> Size:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
            return Size(rows, columns, samples, bits)
        if marker == 0xFF:  # fill byte
            at += 1
        else:
            at += 2 if marker in _BARE else 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise IndexError


def _jpeg2000(data: bytes, start: int) -> Size:
    """The SIZ segment (ISO/IEC 15444-1, A.5.1)."""
    right, bottom, left, top, tile_w, tile_h, tile_x, tile_y = struct.unpack_from(">8I", data, start + 8)
    samples, depth = struct.unpack_from(">HB", data, start + 40)
    across = -(-(right - tile_x) // max(tile_w, 1))
    down = -(-(bottom - tile_y) // max(tile_h, 1))
    if across * down > _MAX_TILES:
        raise DicomError(f"DICOM whose JPEG 2000 image has {across * down} tiles")
    return Size(bottom - top, right - left, samples, (depth & 0x7F) + 1)
