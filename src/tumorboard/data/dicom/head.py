"""Recognise a DICOM file, and read of its header what pixels, grey values and groups need."""

import io
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

from tumorboard.data.dicom.dataset import DataSet, scan
from tumorboard.data.dicom.elements import Budget, DicomError, Element, Encoding, is_vr, read_element

HEAD_BYTES = 132
_MAX_INFLATED = 32 << 20
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_META = Encoding(implicit=False, little=True)


class Tag(IntEnum):
    """The elements that are read; everything else in a header is stepped over."""

    MEDIA_CLASS = 0x00020002
    SYNTAX = 0x00020010
    SOP_CLASS = 0x00080016
    MODALITY = 0x00080060
    PATIENT = 0x00100020
    SERIES = 0x0020000E
    SAMPLES = 0x00280002
    PHOTOMETRIC = 0x00280004
    PLANAR = 0x00280006
    FRAMES = 0x00280008
    ROWS = 0x00280010
    COLUMNS = 0x00280011
    ALLOCATED = 0x00280100
    STORED = 0x00280101
    HIGH_BIT = 0x00280102
    SIGNED = 0x00280103
    PADDING = 0x00280120
    PADDING_LIMIT = 0x00280121
    BURNED_IN = 0x00280301
    CENTER = 0x00281050
    WIDTH = 0x00281051
    INTERCEPT = 0x00281052
    SLOPE = 0x00281053
    FUNCTION = 0x00281056
    RED_DESCRIPTOR = 0x00281101
    GREEN_DESCRIPTOR = 0x00281102
    BLUE_DESCRIPTOR = 0x00281103
    RED = 0x00281201
    GREEN = 0x00281202
    BLUE = 0x00281203
    MODALITY_LUT = 0x00283000
    LUT_DESCRIPTOR = 0x00283002
    LUT_DATA = 0x00283006
    VOI_LUT = 0x00283010
    FRAME_WINDOW = 0x00289132
    FRAME_RESCALE = 0x00289145
    SHARED_GROUPS = 0x52009229
    FRAME_GROUPS = 0x52009230
    FLOAT_PIXELS = 0x7FE00008
    DOUBLE_PIXELS = 0x7FE00009
    PIXELS = 0x7FE00010


WANTED = frozenset(int(tag) for tag in Tag)


@dataclass(frozen=True, slots=True)
class Header:
    """What a DICOM file says about itself.

    Args:
        head: The first 132 bytes.
        syntax: UID of the transfer syntax; guessed from the elements where the file does not say.
        sop_class: UID of what kind of object this is; "" where the file does not say.
        data: The elements of the data set.
        pixels: The beginning of the pixel data; None if there are none.
        file: Positioned at the value of the pixel data (inflated, if the file is deflated).
    """

    head: bytes
    syntax: str
    sop_class: str
    data: DataSet
    pixels: Element | None
    file: BinaryIO


def recognised(head: bytes) -> bool:
    """Whether a file that begins with these 132 bytes is to be read as DICOM.

    "DICM" after a preamble; or, as older archives write it, an element of group 2 or 8 at once, with a
    value representation or a length that is plausible there.
    """
    if head[128:HEAD_BYTES] == b"DICM":
        return True
    if len(head) < 12 or (head[:2] not in (b"\x02\0", b"\x08\0") and head[:3] != b"\0\x08\0"):
        return False
    length = int.from_bytes(head[4:8], "little")
    return is_vr(head[4:6]) or (head[0] == 8 and head[3] == 0 and length <= 256 and length % 2 == 0)


def read(file: BinaryIO) -> Header:
    """Read a header up to the pixel data.

    Args:
        file: A recognised DICOM file, at its beginning.

    Raises:
        DicomError: The header is damaged, too large or nested too deep, or there are several frames.
    """
    budget = Budget()
    head = file.read(HEAD_BYTES)
    file.seek(HEAD_BYTES if head[128:] == b"DICM" else 0)
    meta = scan(file, _META, WANTED, 0x00030000, budget)
    syntax = meta.text(Tag.SYNTAX)
    if syntax == DEFLATED:
        file = _inflated(file)
    encoding = _encoding(file, syntax)
    data = scan(file, encoding, WANTED, Tag.SHARED_GROUPS, budget)
    # Before the groups of each frame, which may be large.
    _require_one_frame(data.text(Tag.FRAMES) or "1")
    groups = scan(file, encoding, WANTED, Tag.FLOAT_PIXELS, budget)
    data = DataSet({**data.values, **groups.values}, encoding)
    stopped = file.tell()
    element = read_element(file, encoding)
    if element is None and stopped > file.seek(0, io.SEEK_END):
        raise DicomError("a DICOM file that is cut off, or damaged in its header")
    pixels = element if element and element.tag in (Tag.PIXELS, Tag.FLOAT_PIXELS, Tag.DOUBLE_PIXELS) else None
    sop_class = data.text(Tag.SOP_CLASS) or meta.text(Tag.MEDIA_CLASS)
    return Header(head, syntax or _guessed(encoding), sop_class, data, pixels, file)


def _require_one_frame(frames: str) -> None:
    if not (frames.isdecimal() and len(frames) < 10 and int(frames)):
        raise DicomError("DICOM whose number of frames is no number")
    if int(frames) > 1:
        raise DicomError(
            f"DICOM with {int(frames)} frames, which do not stand for one image",
            "save each frame that you want as a file of its own",
        )


def _encoding(file: BinaryIO, syntax: str) -> Encoding:
    """As the first element shows it: some files contradict their transfer syntax."""
    start = file.tell()
    first = file.read(6)
    file.seek(start)
    little = syntax != BIG_ENDIAN if syntax else first[:1] != b"\0"
    return Encoding(not is_vr(first[4:]), little)


def _guessed(encoding: Encoding) -> str:
    if encoding.implicit:
        return IMPLICIT
    return EXPLICIT if encoding.little else BIG_ENDIAN


def _inflated(file: BinaryIO) -> BinaryIO:
    """The rest of a file, inflated up to a limit: a deflated file may hold a thousand times its size."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflate.decompress(file.read(_MAX_INFLATED), _MAX_INFLATED)
    if inflate.unconsumed_tail:
        raise DicomError(f"deflated DICOM that inflates beyond {_MAX_INFLATED >> 20} MiB")
    return io.BytesIO(content)
