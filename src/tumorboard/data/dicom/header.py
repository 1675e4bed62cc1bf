"""Parse the header of a DICOM file with pydicom, without trusting a length or a nesting in it.

Only the elements that are asked for are kept, and no message quotes a value, which may identify a patient.
pydicom limits neither how many elements it reads nor how large they are, so `LimitedReader` does.
"""

import io
import math
import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import (
    data_element_generator,
    data_element_offset_to_value,
    read_preamble,
    read_sequence,
)
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tumorboard.data import sandbox
from tumorboard.data.dicom.reader import CHOOSE, is_vr
from tumorboard.errors import ImageError

MAX_READS = 100_000
"""Of a header, all nested elements included: each takes one at least."""
MAX_FRAMES = 10_000
"""Of an object; the functional groups of each frame may take `_FRAME_READS` and `_FRAME_BYTES` more."""
UNDEFINED = 0xFFFFFFFF
FLOAT_PIXELS, PIXELS = 0x7FE00008, 0x7FE00010

_META_END, _FRAME_GROUPS = 0x00030000, 0x52009229
_MAX_VALUE = 1 << 20
_FRAME_READS, _FRAME_BYTES = 1000, 1 << 14
_SECONDS, _FRAMES_PER_SECOND = 4, 1000
_MAX_INFLATED = 32 << 20
WANTED = (
    *("MediaStorageSOPClassUID", "TransferSyntaxUID", "SOPClassUID", "Modality"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "BurnedInAnnotation"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleIntercept", "RescaleSlope"),
    *("ModalityLUTSequence", "VOILUTSequence"),
    *(
        f"{c}PaletteColorLookupTable{part}"
        for c in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
    *("ImagePositionPatient", "ImageOrientationPatient"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
_INTEGERS = {"UL": "I", "SL": "i", "SS": "h"}
_DECIMAL_COMMA = "has a number with a decimal comma, read as a decimal point"


class LimitedReader(io.BufferedReader):
    """A file of which pydicom can read a header of limited length only."""

    reads = 0
    cut_off = False
    frames = 1

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes.

        Raises:
            ImageError: The value is too large, or there were too many of them.
        """
        self.reads += 1
        further = self.frames - 1
        if self.reads > MAX_READS + _FRAME_READS * further:
            raise ImageError(f"a DICOM header of more than {MAX_READS + _FRAME_READS * further} elements")
        if size is not None and size > _MAX_VALUE + _FRAME_BYTES * further:
            raise ImageError(f"a DICOM header value of {size} bytes")
        content = super().read(size)
        self.cut_off |= bool(content) and len(content) < (size or 0)
        return content

    def read_unlimited(self, size: int) -> bytes:
        """Read bytes that are not of the header."""
        return super().read(size)


Element = RawDataElement | DataElement
Elements = Mapping[int, Element]
"""By tag the elements of a data set as they were read: pydicom's conversions refuse much that is harmless."""

_tag = cache(tag_for_keyword)


def has(data: Elements, keyword: str) -> bool:
    """Check whether there is an element that is not empty."""
    element = data.get(_tag(keyword) or 0)
    return element is not None and bool(element.value)


def raw(data: Elements, keyword: str) -> bytes:
    """Return the bytes of a value; empty if there is none.

    Raises:
        ImageError: The file ends amid the value.
    """
    element = data.get(_tag(keyword) or 0)
    if not isinstance(element, RawDataElement) or not element.value:
        return b""
    if len(element.value) < element.length < UNDEFINED:
        raise ImageError("a DICOM file that is cut off")
    return element.value


def text(data: Elements, keyword: str) -> str:
    """Return a code or identifier; "" if there is none."""
    return raw(data, keyword).decode("ascii", "replace").strip(" \0")


def byte_order(data: Elements, keyword: str) -> str:
    """Return the byte order of an element as `struct` and NumPy write it."""
    element = data.get(_tag(keyword) or 0)
    return ">" if isinstance(element, RawDataElement) and not element.is_little_endian else "<"


def integers(data: Elements, keyword: str) -> tuple[int, ...]:
    """Return binary integers, unsigned of 16 bits unless the element says otherwise.

    Raises:
        ImageError: Bytes that are no whole number of integers.
    """
    value, element = raw(data, keyword), data.get(_tag(keyword) or 0)
    code = byte_order(data, keyword) + _INTEGERS.get(str(element.VR) if element else "", "H")
    if len(value) % struct.calcsize(code):
        raise _not_a_number(keyword)
    return tuple(number for (number,) in struct.iter_unpack(code, value))


def decimals(data: Elements, keyword: str, notes: list[str]) -> tuple[float, ...]:
    """Return decimal strings; a comma in the place of the point is noted.

    Raises:
        ImageError: Text that is no finite number.
    """
    written = text(data, keyword)
    try:
        numbers = tuple(float(part.replace(",", ".")) for part in written.split("\\")) if written else ()
    except ValueError:
        raise _not_a_number(keyword) from None
    if not all(map(math.isfinite, numbers)):
        raise _not_a_number(keyword)
    if "," in written and _DECIMAL_COMMA not in notes:
        notes.append(_DECIMAL_COMMA)
    return numbers


def items(data: Elements, keyword: str, frames: int = 1) -> tuple[Elements, ...]:
    """Return the items of a sequence, limited as those of an object of so many frames are."""
    element = data.get(_tag(keyword) or 0)
    sequence: Any = element.value if element and element.VR == "SQ" else ()
    if isinstance(element, RawDataElement):
        # Not converted by pydicom, which reads without limit; a value of VR UN is implicit little endian.
        value, unknown = raw(data, keyword), element.VR == "UN"
        implicit, little = element.is_implicit_VR or unknown, element.is_little_endian or unknown
        reader = LimitedReader(io.BytesIO(value))
        reader.frames = frames
        sequence = read_sequence(reader, implicit, little, len(value), "iso8859")
    return tuple(dict(item.items()) for item in sequence)


def first_item(data: Elements, keyword: str) -> Elements:
    """Return the first item of a sequence; no elements if there is none."""
    return next(iter(items(data, keyword)), {})


def _not_a_number(keyword: str) -> ImageError:
    tag = tag_for_keyword(keyword) or 0
    return ImageError(f"a DICOM header whose element ({tag >> 16:04X},{tag & 0xFFFF:04X}) is no number")


# -- Headers


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The beginning of the pixel data; `position` is that of its value."""

    tag: int
    vr: str
    length: int
    position: int


@dataclass(frozen=True, slots=True)
class ParsedHeader:
    """The part of a DICOM file before the pixels.

    Args:
        syntax: UID of the transfer syntax; guessed from the elements where the file does not say.
        sop_class: UID of the kind of object; "" where the file does not say.
        data: The elements of the data set that are wanted.
        pixels: None if there are none.
        preamble: The first 128 bytes, where the file has a preamble.
        file: The file (inflated, if it is deflated).
        frames: How many there are.
        frame_groups: The functional groups of each frame, if there are several.
        frame: The number of the frame that is read, from 1.
        notes: What the user should know, to be added to.
    """

    syntax: str
    sop_class: str
    data: Elements
    pixels: PixelElement | None
    preamble: bytes
    file: LimitedReader
    frames: int = 1
    frame_groups: tuple[Elements, ...] = ()
    frame: int = 1
    notes: list[str] = field(default_factory=list)


def read_header(
    source: io.RawIOBase | io.BytesIO, extra: Collection[str] = (), several: bool = False
) -> ParsedHeader:
    """Read a header up to the pixel data.

    Args:
        source: A DICOM file at its beginning, unbuffered or in memory.
        extra: Keywords of further elements to keep.
        several: Whether there may be several frames.

    Raises:
        ImageError: The header is too large or cut off, or there are several frames, or too many.
        Exception: The header is damaged; see `explained`.
    """
    file, tags = LimitedReader(source), [_tag(keyword) or 0 for keyword in (*WANTED, *extra)]
    stopped: tuple[int, str, int] | None = None

    def elements(implicit: bool, little: bool, end: int) -> dict[int, Element]:
        """Read elements up to a tag that is not below `end`, which is then in `stopped`."""

        def at_end(tag: int, vr: str | None, length: int) -> bool:
            nonlocal stopped
            stopped = (int(tag), vr or "", length) if int(tag) >= end else None
            return stopped is not None

        generator = data_element_generator(file, implicit, little, stop_when=at_end, specific_tags=tags)
        return {int(element.tag): element for element in generator}

    preamble = read_preamble(file, force=True) or b""
    meta = elements(implicit=False, little=True, end=_META_END)
    syntax = text(meta, "TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflate.decompress(file.read_unlimited(_MAX_INFLATED), _MAX_INFLATED)
        if inflate.unconsumed_tail:  # a file may hold a thousand times its size
            raise ImageError(f"deflated DICOM that inflates beyond {_MAX_INFLATED >> 20} MiB")
        file = LimitedReader(io.BytesIO(content))
    # As the first element shows it: some files contradict their transfer syntax.
    start = file.tell()
    first = file.read(6)
    file.seek(start)
    little = syntax != ExplicitVRBigEndian if syntax else first[:1] != b"\0"
    implicit = not is_vr(first[4:])
    data = elements(implicit, little, _FRAME_GROUPS)
    # Before the groups of each frame, which may be large.
    frames = _frames(text(data, "NumberOfFrames") or "1", several)
    if frames > 1:
        sandbox.limit_time(_SECONDS + frames // _FRAMES_PER_SECOND)
        file.frames = frames
    if stopped and stopped[0] < FLOAT_PIXELS:
        data |= elements(implicit, little, FLOAT_PIXELS)
    pixels = None
    if stopped:
        tag, vr, length = stopped
        if tag <= PIXELS:
            pixels = PixelElement(tag, vr, length, file.tell() + data_element_offset_to_value(implicit, vr))
    elif file.cut_off or file.tell() > file.seek(0, io.SEEK_END):
        raise ImageError("a DICOM file that is cut off, or damaged in its header")
    if not syntax:
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        syntax = str(ImplicitVRLittleEndian if implicit else explicit)
    sop_class = text(data, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID")
    groups = items(data, "PerFrameFunctionalGroupsSequence", frames) if frames > 1 else ()
    if frames > 1 and _tag("PerFrameFunctionalGroupsSequence") in data and len(groups) != frames:
        raise ImageError("DICOM whose groups of frames do not fit their number")
    return ParsedHeader(syntax, sop_class, data, pixels, preamble, file, frames, groups)


def _frames(written: str, several: bool) -> int:
    if not (written.isdecimal() and len(written) < 10 and int(written)):
        raise ImageError("DICOM whose number of frames is no number")
    frames = int(written)
    if frames > MAX_FRAMES:
        raise ImageError(f"DICOM with {frames} frames, more than the {MAX_FRAMES:,} allowed")
    if frames > 1 and not several:
        raise ImageError(f"DICOM with {frames} frames, which do not stand for one image", CHOOSE)
    return frames


def explained(error: BaseException) -> ImageError:
    """Turn an error of pydicom, a decoder or this module into one that quotes nothing."""
    cause: BaseException | None = error
    while cause:  # pydicom replaces errors while it reads sequences
        if isinstance(cause, ImageError):
            return cause
        if isinstance(cause, RecursionError):
            return ImageError("DICOM sequences nested too deep")
        cause = cause.__context__
    if isinstance(error, MemoryError):
        return ImageError("a DICOM file that does not fit into memory")
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"a file that cannot be read ({error.strerror})")
    if isinstance(error, OSError | EOFError):
        return ImageError("a DICOM file that is cut off, or damaged in its header")
    return ImageError(f"a damaged DICOM file ({type(error).__name__})")
