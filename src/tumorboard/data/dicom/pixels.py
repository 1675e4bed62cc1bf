"""The stored pixels of a single-frame DICOM object, everything counted before anything is decoded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom._uid_dict import UID_dictionary
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from tumorboard.data.dicom import codecs, codestream
from tumorboard.data.dicom.elements import ITEM, SEQUENCE_END, UNDEFINED, DicomError, Encoding, read_element
from tumorboard.data.dicom.head import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, Header, Tag

_NATIVE = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_FRAGMENTS = Encoding(implicit=True, little=True)
_UNSUSPICIOUS, _PIXELS_PER_BYTE = 5_000_000, 500
_SLACK = 1 << 20


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
        """Bytes of one uncompressed frame."""
        shared = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return (self.rows * self.columns * shared * self.allocated + 7) // 8

    def options(self) -> dict[str, Any]:
        """As the decoders of `pydicom.pixels` name them."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "bits_allocated": self.allocated,
            "bits_stored": self.stored,
            "pixel_representation": int(self.signed),
            "photometric_interpretation": self.photometric,
            "number_of_frames": 1,
            **({"planar_configuration": self.planar} if self.samples > 1 else {}),
        }


def stored_pixels(header: Header, max_pixels: int) -> tuple[npt.NDArray[np.integer], Layout]:
    """Decode the one frame of an object.

    Args:
        header: As read, its file at the pixels.
        max_pixels: More than this are refused before decoding.

    Returns:
        Integers (rows, columns), or (rows, columns, 3) in RGB, and their layout.

    Raises:
        DicomError: No pixels, a layout or compression that is not read, a missing codec,
            too many pixels, or fewer bytes than the header promises.
    """
    if header.pixels is None:
        kind = UID_dictionary.get(header.sop_class, ("unknown kind",))[0]
        raise DicomError(f"a DICOM object without an image ({kind})", "remove the file")
    if header.pixels.tag != Tag.PIXELS:
        raise DicomError("DICOM with floating-point pixels")
    layout = _layout(header, max_pixels)
    native = header.syntax in _NATIVE
    pixels = _native(header, layout) if native else _compressed(header, layout)
    expected = (layout.rows, layout.columns, 3)[: 2 + (layout.samples > 1)]
    if pixels.shape != expected:
        raise DicomError("DICOM whose decoded pixels have another form than its header says")
    return pixels, layout


def _layout(header: Header, max_pixels: int) -> Layout:
    data = header.data
    photometric = data.text(Tag.PHOTOMETRIC)
    if photometric not in _GREY | _COLOUR:
        raise DicomError("DICOM with a photometric interpretation that is not read")
    layout = Layout(
        rows=_one(header, Tag.ROWS),
        columns=_one(header, Tag.COLUMNS),
        samples=_one(header, Tag.SAMPLES, 1 if photometric in _GREY else 3),
        allocated=_one(header, Tag.ALLOCATED),
        stored=_one(header, Tag.STORED, _one(header, Tag.ALLOCATED)),
        signed=_one(header, Tag.SIGNED, 0) == 1,
        photometric=photometric,
        planar=_one(header, Tag.PLANAR, 0),
    )
    _require_sense(layout, _one(header, Tag.HIGH_BIT, layout.stored - 1))
    if layout.rows * layout.columns > max_pixels:
        raise DicomError(f"{layout.columns} x {layout.rows} pixels, more than the {max_pixels:,} allowed")
    return layout


def _require_sense(layout: Layout, high_bit: int) -> None:
    colour = layout.photometric in _COLOUR
    sizes = (8, 16) if colour else (1, 8, 16, 32)
    if layout.samples != (3 if colour else 1) or 0 in (layout.rows, layout.columns) or layout.planar > 1:
        raise DicomError("DICOM whose rows, columns or samples contradict each other")
    if layout.allocated not in sizes or not 1 <= layout.stored <= layout.allocated:
        raise DicomError(
            f"DICOM with {layout.stored} of {layout.allocated} bits per value, which is not read"
        )
    if high_bit != layout.stored - 1:
        raise DicomError(f"DICOM with its {layout.stored} bits up to bit {high_bit}, which is not read")


def _one(header: Header, tag: Tag, default: int | None = None) -> int:
    values = header.data.integers(tag)
    if len(values) == 1:
        return values[0]
    if values or default is None:
        raise DicomError(f"DICOM without one value of {tag.name.lower()}")
    return default


def _native(header: Header, layout: Layout) -> npt.NDArray[np.integer]:
    length = header.pixels.length if header.pixels else 0
    if length == UNDEFINED or length >= 2 * layout.frame_bytes > 2:
        raise DicomError("DICOM with more pixels than its header says")
    content = header.file.read(min(length, layout.frame_bytes))
    if len(content) < layout.frame_bytes:
        raise DicomError(f"DICOM cut off after {len(content)} of {layout.frame_bytes} bytes of pixels")
    vr = header.pixels.vr.decode() if header.pixels and header.pixels.vr in (b"OB", b"OW") else "OW"
    options = {**layout.options(), "pixel_keyword": "PixelData", "pixel_vr": vr}
    return get_decoder(UID(header.syntax)).as_array(content + b"\0" * (len(content) % 2), **options)[0]


def _compressed(header: Header, layout: Layout) -> npt.NDArray[np.integer]:
    codec = codecs.CODECS.get(header.syntax)
    if codec is None:
        kind = UID_dictionary.get(header.syntax, ("unknown compression",))[0]
        raise DicomError(f"DICOM in {kind}, which is not decoded", "save it uncompressed")
    frame = _frame(header, layout, codec)
    if codec is not codecs.RLE:
        _require_agreement(frame, layout, header.syntax)
    if layout.rows * layout.columns > max(_UNSUSPICIOUS, _PIXELS_PER_BYTE * len(frame)):
        raise DicomError(
            f"{layout.columns} x {layout.rows} pixels in {len(frame)} bytes: a decompression bomb"
        )
    codecs.require(codec)
    pixels, _ = codecs.decode(frame, header.syntax, layout.options())
    return pixels


def _frame(header: Header, layout: Layout, codec: codecs.Codec) -> bytes:
    """The fragments of the only frame, joined."""
    fragments = _fragments(header, 2 * layout.frame_bytes + _SLACK)
    offsets, parts = fragments[0], fragments[1:]
    begun = len(parts) if codec is codecs.RLE else sum(map(codestream.begins, parts[1:])) + 1
    if begun > 1 or len(offsets) > 4:
        raise DicomError("DICOM with more frames than its header says")
    return b"".join(parts)


def _fragments(header: Header, most: int) -> list[bytes]:
    """The offset table, then the fragments, by their own lengths: delimiters may occur in the data."""
    found: list[bytes] = []
    while True:
        item = read_element(header.file, _FRAGMENTS)
        if item is not None and item.tag == SEQUENCE_END and len(found) > 1:
            return found
        if item is None or item.tag != ITEM or len(found) > 1000:
            raise DicomError("DICOM whose compressed pixels are cut off or damaged")
        if sum(map(len, found)) + item.length > most:
            raise DicomError("DICOM with more compressed bytes than its size explains")
        found.append(header.file.read(item.length))
        if len(found[-1]) < item.length:
            raise DicomError("DICOM whose compressed pixels are cut off")


def _require_agreement(frame: bytes, layout: Layout, syntax: str) -> None:
    size = codestream.size(frame)
    if size[:3] != (layout.rows, layout.columns, layout.samples):
        raise DicomError(
            f"DICOM of {layout.columns} x {layout.rows} with pixels of {size.columns} x {size.rows}"
        )
    if codecs.CODECS[syntax].plugin == "pillow" and size.bits != 8:
        raise DicomError(
            f"DICOM in lossy JPEG of {size.bits} bits, which is not decoded", "save it uncompressed"
        )
