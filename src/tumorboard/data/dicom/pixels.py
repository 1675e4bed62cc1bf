"""Decode one frame of a DICOM file with pydicom, everything counted before anything is decoded.

A decoder allocates what the compressed frame asks for, whatever the DICOM header says: one changed byte made
OpenJPEG take 8.9 GB for an image of 100 x 100. So the two are compared first (`frame_size`).

No decoder under the GPL is used, so lossy JPEG of 12 bits and video are not read.
"""

import io
import struct
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom._uid_dict import UID_dictionary
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tumorboard import optional
from tumorboard.data import sandbox
from tumorboard.data.dicom.header import PIXELS, UNDEFINED, ParsedHeader, PixelElement, integers, text
from tumorboard.errors import ImageError

_MAX_FRAGMENTS = 1000  # of a frame
_MAX_TILES = 4096
_SLACK = 1 << 20
_SECONDS, _PIXELS_PER_SECOND = 1, 1_000_000
_NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
GREY = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_YBR_FULL = frozenset({"YBR_FULL", "YBR_FULL_422"})
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_JPEG_BEGINS, _J2K_BEGINS, _JP2_BEGINS = BEGINNINGS = (
    b"\xff\xd8\xff",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  ",
)
# SOF0-SOF15 without DHT, JPG and DAC; SOF55 is JPEG-LS.
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_LOWER_CASE = "names its photometric interpretation in lower case, read as if in capitals"


class Codec(NamedTuple):
    """How a transfer syntax is decoded.

    Args:
        kind: Its name in messages.
        plugin: pydicom's name for the decoder.
        module: What the decoder needs.
        package: Its pip package.
        densest: The most pixels that a byte can stand for; 0 if there is no limit.
    """

    kind: str
    plugin: str
    module: str
    package: str
    densest: int = 0


_J2K = Codec("JPEG 2000", "pylibjpeg", "openjpeg", "pylibjpeg pylibjpeg-openjpeg")
_JPEG = Codec("JPEG", "pillow", "PIL", "pillow")
_LOSSLESS = Codec("lossless JPEG", "gdcm", "gdcm", "python-gdcm", densest=8)  # a bit for each value
_LS = Codec("JPEG-LS", "pyjpegls", "jpeg_ls", "pyjpegls")
_RLE = Codec("RLE", "pydicom", "pydicom", "pydicom", densest=64)  # two bytes for a run of 128
CODECS = {
    "1.2.840.10008.1.2.5": _RLE,
    "1.2.840.10008.1.2.4.50": _JPEG,
    "1.2.840.10008.1.2.4.51": _JPEG,
    "1.2.840.10008.1.2.4.57": _LOSSLESS,
    "1.2.840.10008.1.2.4.70": _LOSSLESS,
    "1.2.840.10008.1.2.4.80": _LS,
    "1.2.840.10008.1.2.4.81": _LS,
    **{f"1.2.840.10008.1.2.4.{n}": _J2K for n in (90, 91, 201, 202, 203)},
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How pixels are stored, checked to be possible."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    planar: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of an uncompressed frame."""
        shared = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return (self.rows * self.columns * shared * self.allocated + 7) // 8


def stored_pixels(header: ParsedHeader, max_pixels: int) -> tuple[npt.NDArray[np.integer], Layout]:
    """Decode the frame `header.frame` of an object.

    Args:
        header: From `read_header`.
        max_pixels: More than this are refused before decoding.

    Returns:
        Integers (rows, columns), or (rows, columns, 3) in RGB, and their layout.

    Raises:
        ImageError: No pixels, a layout or compression that is not read, a missing codec,
            too many pixels, or fewer bytes than the header promises.
    """
    pixels, layout = _pixel_element(header), _layout(header, max_pixels)
    codec = _codec(header)
    options: dict[str, Any]
    if codec is None:
        layout, content = _native_frame(header, pixels, layout)
        options = {"pixel_vr": pixels.vr if pixels.vr in ("OB", "OW") else "OW"}
    else:
        content = encapsulate([_compressed_frame(header, pixels, layout, codec)], has_bot=False)
        options = {"decoding_plugin": codec.plugin}
    options |= {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
        "photometric_interpretation": layout.photometric,
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
        **({"planar_configuration": layout.planar} if layout.samples > 1 else {}),
    }
    sandbox.limit_time(_SECONDS + layout.rows * layout.columns // _PIXELS_PER_SECOND)
    try:
        values, _ = get_decoder(UID(header.syntax)).as_array(content, **options)
    except Exception:
        if codec:
            raise ImageError(f"DICOM with damaged {codec.kind} pixels") from None
        raise
    if values.shape != (layout.rows, layout.columns, 3)[: 2 + (layout.samples > 1)]:
        raise ImageError("DICOM whose decoded pixels have another form than its header says")
    return values, layout


def require_frames(header: ParsedHeader, max_pixels: int) -> None:
    """Check, without decoding any, that an object holds the frames that its header counts.

    Raises:
        ImageError: It does not, or they have a form that is not read.
    """
    pixels, layout, codec = _pixel_element(header), _layout(header, max_pixels), _codec(header)
    if codec is None:
        _native_frame(header, pixels, layout)
    else:
        _fragments_by_frame(header, pixels, codec)


def _pixel_element(header: ParsedHeader) -> PixelElement:
    if header.pixels is None:
        kind = UID_dictionary.get(header.sop_class, ("unknown kind",))[0]
        raise ImageError(f"a DICOM object without an image ({kind})", "remove the file")
    if header.pixels.tag != PIXELS:
        raise ImageError("DICOM with floating-point pixels")
    return header.pixels


def _codec(header: ParsedHeader) -> Codec | None:
    """Return how the pixels are decoded; None if they are not compressed."""
    if header.syntax not in _NATIVE and header.syntax not in CODECS:
        kind = UID_dictionary.get(header.syntax, ("unknown compression",))[0]
        raise ImageError(f"DICOM in {kind}, which is not decoded", "save it uncompressed")
    return CODECS.get(header.syntax)


def photometric(header: ParsedHeader) -> str:
    """Return the photometric interpretation in capitals, or "" for one that is not read."""
    written = text(header.data, "PhotometricInterpretation")
    if written.upper() not in GREY | COLOUR:
        return ""
    if written != written.upper():
        header.notes.append(_LOWER_CASE)
    return written.upper()


def _layout(header: ParsedHeader, max_pixels: int) -> Layout:
    def single(name: str, keyword: str, default: int | None = None) -> int:
        values = integers(header.data, keyword)
        if len(values) == 1:
            return values[0]
        if values or default is None:
            raise ImageError(f"DICOM without one value of {name}")
        return default

    interpretation = photometric(header)
    if not interpretation:
        raise ImageError("DICOM with a photometric interpretation that is not read")
    in_colour = interpretation in COLOUR
    allocated = single("allocated", "BitsAllocated")
    layout = Layout(
        rows=single("rows", "Rows"),
        columns=single("columns", "Columns"),
        samples=single("samples", "SamplesPerPixel", 3 if in_colour else 1),
        allocated=allocated,
        stored=single("stored", "BitsStored", allocated),
        signed=single("signed", "PixelRepresentation", 0) == 1,
        photometric=interpretation,
        planar=single("planar", "PlanarConfiguration", 0),
    )
    high_bit = single("high_bit", "HighBit", layout.stored - 1)
    if layout.samples != (3 if in_colour else 1) or 0 in (layout.rows, layout.columns) or layout.planar > 1:
        raise ImageError("DICOM whose rows, columns or samples contradict each other")
    readable = (8,) if interpretation in _YBR_FULL else (8, 16) if in_colour else (1, 8, 16, 32)
    if allocated not in readable or not 1 <= layout.stored <= allocated:
        raise ImageError(f"DICOM with {layout.stored} of {allocated} bits per value, which is not read")
    if high_bit != layout.stored - 1:
        raise ImageError(f"DICOM with its {layout.stored} bits up to bit {high_bit}, which is not read")
    if layout.rows * layout.columns > max_pixels:
        raise ImageError(f"{layout.columns} x {layout.rows} pixels, more than the {max_pixels:,} allowed")
    return layout


def _native_frame(header: ParsedHeader, pixels: PixelElement, layout: Layout) -> tuple[Layout, bytes]:
    """Read the bytes of an uncompressed frame, padded to an even number, and how they are laid out."""
    full, frames = replace(layout, photometric="YBR_FULL"), header.frames
    if layout.photometric == "YBR_FULL_422" and full.frame_bytes * frames <= pixels.length < UNDEFINED:
        layout = full  # it is not subsampled, whatever it says
    expected = layout.frame_bytes
    if pixels.length == UNDEFINED or pixels.length >= (frames + 1) * expected > 2:
        raise ImageError("DICOM with more pixels than its header says")
    if frames > 1:
        # A frame may begin amid a byte, or in big-endian words of two 8-bit values amid a word.
        amid = layout.allocated == 1 and layout.rows * layout.columns % 8
        if amid or (header.syntax == ExplicitVRBigEndian and expected % 2):
            raise ImageError("DICOM with frames that begin amid a byte or word", "save it in a common form")
        present = min(pixels.length, header.file.seek(0, io.SEEK_END) - pixels.position)
        if present < frames * expected:
            raise ImageError(f"DICOM cut off after {present} of {frames * expected} bytes of pixels")
    header.file.seek(pixels.position + (header.frame - 1) * expected)
    # The padding too: in big-endian words of two 8-bit values it stands before the last value.
    content = header.file.read_unlimited(min(pixels.length, expected + expected % 2))
    if len(content) < expected:
        raise ImageError(f"DICOM cut off after {len(content)} of {expected} bytes of pixels")
    return layout, content + b"\0" * (len(content) % 2)


def _compressed_frame(header: ParsedHeader, pixels: PixelElement, layout: Layout, codec: Codec) -> bytes:
    """Join the fragments of a frame, and check that it may be decoded."""
    fragments = _fragments_by_frame(header, pixels, codec)[header.frame - 1]
    if sum(length for _, length in fragments) > 2 * layout.frame_bytes + _SLACK:
        raise ImageError("DICOM with more compressed bytes than its size explains")
    frame = b"".join(_read_at(header, *fragment) for fragment in fragments)
    if codec is not _RLE:
        size = frame_size(frame)
        if size[:3] != (layout.rows, layout.columns, layout.samples):
            raise ImageError(
                f"DICOM of {layout.columns} x {layout.rows} with pixels of {size.columns} x {size.rows}"
            )
        if codec is _JPEG and size.bits != 8:
            raise ImageError(
                f"DICOM in lossy JPEG of {size.bits} bits, which is not decoded", "save it uncompressed"
            )
    if codec.densest and layout.rows * layout.columns > codec.densest * len(frame):
        raise ImageError(
            f"{layout.columns} x {layout.rows} pixels in {len(frame)} bytes: too few for {codec.kind}"
        )
    if find_spec(codec.module) is None or (codec is _J2K and find_spec("pylibjpeg") is None):
        raise ImageError(f"{codec.kind} DICOM without its codec", optional.install(*codec.package.split()))
    return frame


Fragment = tuple[int, int]
"""Where a part of the compressed pixels begins in the file, and its length."""


def _fragments_by_frame(header: ParsedHeader, pixels: PixelElement, codec: Codec) -> list[list[Fragment]]:
    """Find the fragments of each frame; lengths are followed, because delimiters may occur in the data."""
    file, fragments, position = header.file, list[Fragment](), pixels.position
    end = file.seek(0, io.SEEK_END)
    while (head := _read_at(header, position, 8))[:4] == _ITEM and len(head) == 8:
        length = int.from_bytes(head[4:], "little")
        fragments.append((position + 8, length))
        position += 8 + length
        if position > end or len(fragments) > _MAX_FRAGMENTS + header.frames:
            raise ImageError("DICOM whose compressed pixels are cut off or damaged")
    if head[:4] != _SEQUENCE_END or len(fragments) < 2:  # the first is the table of offsets
        damaged = len(head) == 8 and head[:4] != _SEQUENCE_END
        raise ImageError(f"DICOM whose compressed pixels are cut off{' or damaged' * damaged}")
    table, data = fragments[0], fragments[1:]
    if table[1] > 4 * header.frames:
        raise ImageError("DICOM with more frames than its header says")
    if table[1] and header.frames > 1:
        offsets = struct.unpack(f"<{table[1] // 4}I", _read_at(header, table[0], table[1] // 4 * 4))
        places = {start - 8 - table[0] - table[1]: number for number, (start, _) in enumerate(data)}
        begins = [places.get(offset, -1) for offset in offsets]
        if -1 in begins or begins != sorted(set(begins)):
            raise ImageError("DICOM whose table of offsets does not fit its compressed pixels")
    elif codec is _RLE or len(data) == header.frames > 1:
        begins = list(range(len(data)))
    else:
        longest = max(map(len, BEGINNINGS))
        starts = (_read_at(header, start, longest).startswith(BEGINNINGS) for start, _ in data)
        begins = [number for number, begun in enumerate(starts) if begun or not number]
    if len(begins) != header.frames:
        few = "fewer" if len(begins) < header.frames else "more"
        raise ImageError(f"DICOM with {few} frames than its header says")
    return [data[first:last] for first, last in zip(begins, [*begins[1:], None], strict=True)]


def _read_at(header: ParsedHeader, position: int, length: int) -> bytes:
    header.file.seek(position)
    return header.file.read_unlimited(length)


class FrameSize(NamedTuple):
    """The size of a compressed frame by its own header; `bits` of one sample."""

    rows: int
    columns: int
    samples: int
    bits: int


def frame_size(frame: bytes) -> FrameSize:
    """Read the size of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Raises:
        ImageError: None of these, no size in it, or too many tiles.
    """
    try:
        if frame.startswith(_JPEG_BEGINS):
            return _jpeg_size(frame)
        start = frame.find(_J2K_BEGINS, 0, 4096) if frame.startswith(_JP2_BEGINS) else 0
        if start >= 0 and frame.startswith(_J2K_BEGINS, start):
            return _jpeg2000_size(frame, start)
    except (struct.error, IndexError):
        pass
    raise ImageError("DICOM whose compressed pixels are damaged or of another kind than its header says")


def _jpeg_size(frame: bytes) -> FrameSize:
    at = 2
    while frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _FRAME_MARKERS:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", frame, at + 4)
            return FrameSize(rows, columns, samples, bits)
        if marker == 0xFF:  # fill byte
            at += 1
        else:
            at += 2 if marker in _BARE_MARKERS else 2 + struct.unpack_from(">H", frame, at + 2)[0]
    raise IndexError


def _jpeg2000_size(frame: bytes, start: int) -> FrameSize:
    """Read the SIZ segment (ISO/IEC 15444-1, A.5.1)."""
    right, bottom, left, top, tile_w, tile_h, tile_x, tile_y = struct.unpack_from(">8I", frame, start + 8)
    samples, depth = struct.unpack_from(">HB", frame, start + 40)
    tiles = -(-(right - tile_x) // max(tile_w, 1)) * -(-(bottom - tile_y) // max(tile_h, 1))
    if tiles > _MAX_TILES:
        raise ImageError(f"DICOM whose JPEG 2000 image has {tiles} tiles")
    return FrameSize(bottom - top, right - left, samples, (depth & 0x7F) + 1)
