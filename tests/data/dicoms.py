"""DICOM files made byte by byte, so that tests know their contents without asking any DICOM library."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
JPEG, LOSSLESS, JPEG_LS, J2K, RLE = (f"1.2.840.10008.1.2.{n}" for n in ("4.50", "4.70", "4.80", "4.90", "5"))
CT, SECONDARY, ULTRASOUND, STRUCTURED, PRESENTATION = (
    f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("2", "7", "6.1", "88.11", "11.1")
)

PYDICOMS = {
    path.name: path
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*"))
    if path.is_file() and path.suffix not in (".txt", ".dump", ".json", ".icc", ".gz", ".py", ".pyc")
}
"""The files that come with pydicom, by name; its own search would also try to download some."""

NAMES = {
    "media_class": (0x00020002, "UI"),
    "syntax": (0x00020010, "UI"),
    "sop_class": (0x00080016, "UI"),
    "modality": (0x00080060, "CS"),
    "patient": (0x00100020, "LO"),
    "series": (0x0020000E, "UI"),
    "samples": (0x00280002, "US"),
    "position": (0x00200032, "DS"),
    "orientation": (0x00200037, "DS"),
    "photometric": (0x00280004, "CS"),
    "planar": (0x00280006, "US"),
    "frames": (0x00280008, "IS"),
    "rows": (0x00280010, "US"),
    "columns": (0x00280011, "US"),
    "allocated": (0x00280100, "US"),
    "stored": (0x00280101, "US"),
    "high_bit": (0x00280102, "US"),
    "signed": (0x00280103, "US"),
    "padding": (0x00280120, "US"),
    "padding_limit": (0x00280121, "US"),
    "burned_in": (0x00280301, "CS"),
    "center": (0x00281050, "DS"),
    "width": (0x00281051, "DS"),
    "intercept": (0x00281052, "DS"),
    "slope": (0x00281053, "DS"),
    "function": (0x00281056, "CS"),
    "red_descriptor": (0x00281101, "US"),
    "green_descriptor": (0x00281102, "US"),
    "blue_descriptor": (0x00281103, "US"),
    "red": (0x00281201, "OW"),
    "green": (0x00281202, "OW"),
    "blue": (0x00281203, "OW"),
    "modality_lut": (0x00283000, "SQ"),
    "lut_descriptor": (0x00283002, "US"),
    "lut_data": (0x00283006, "OW"),
    "voi_lut": (0x00283010, "SQ"),
    "plane_position": (0x00209113, "SQ"),
    "plane_orientation": (0x00209116, "SQ"),
    "frame_window": (0x00289132, "SQ"),
    "frame_rescale": (0x00289145, "SQ"),
    "shared_groups": (0x52009229, "SQ"),
    "frame_groups": (0x52009230, "SQ"),
    "float_pixels": (0x7FE00008, "OF"),
    "pixels": (0x7FE00010, "OW"),
    "pixel_bytes": (0x7FE00010, "OB"),
}
_LONG = ("OB", "OW", "OF", "SQ", "UN", "UT")


def element(tag: int, vr: str, value: bytes, *, order: str = "<", implicit: bool = False) -> bytes:
    value += b"\0" * (len(value) % 2)
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + struct.pack(order + "I", len(value)) + value
    if vr in _LONG:
        return head + vr.encode() + b"\0\0" + struct.pack(order + "I", len(value)) + value
    return head + vr.encode() + struct.pack(order + "H", len(value)) + value


def elements(values: dict[str, Any], **how: Any) -> bytes:
    """A data set; a sequence is a list of dicts, a US a number or several, a DS or IS a text or a number."""
    encoded = [(*NAMES[name], value) for name, value in values.items() if value is not None]
    return b"".join(element(tag, vr, _bytes(vr, value, **how), **how) for tag, vr, value in sorted(encoded))


def _bytes(vr: str, value: Any, **how: Any) -> bytes:
    order = how.get("order", "<")
    if isinstance(value, bytes):
        return value
    if vr == "SQ":
        items = (elements(item, **how) for item in value)
        return b"".join(struct.pack(order + "HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    if vr in ("US", "OW"):
        numbers = value if isinstance(value, Sequence) else [value]
        return b"".join(struct.pack(order + "H", number & 0xFFFF) for number in numbers)
    text = str(value).encode()
    return text + b" " * (len(text) % 2) if vr != "UI" else text


def part10(data: bytes, syntax: str = EXPLICIT, preamble: bytes = b"", media_class: str = CT) -> bytes:
    """A file of preamble, file meta information and data set."""
    meta = elements({"media_class": media_class, "syntax": syntax})
    group_length = element(0x00020000, "UL", struct.pack("<I", len(meta)))
    return preamble.ljust(128, b"\0") + b"DICM" + group_length + meta + data


def header(height: int, width: int, /, **values: Any) -> dict[str, Any]:
    """Of a grey 16-bit CT, changed by `values`; None leaves an element out."""
    bits = values.get("allocated") or 16
    return {
        "sop_class": CT,
        "modality": "CT",
        "samples": 1,
        "photometric": "MONOCHROME2",
        "rows": height,
        "columns": width,
        "allocated": bits,
        "stored": bits,
        "high_bit": values.get("stored", bits) - 1,
        "signed": 0,
    } | values


def image(picture: Any, /, *, syntax: str = EXPLICIT, preamble: bytes = b"", **values: Any) -> bytes:
    """A file of one row of stored values, or of an array (H, W) or (H, W, 3)."""
    how = {"order": ">" if syntax == BIG_ENDIAN else "<", "implicit": syntax == IMPLICIT}
    bits = values.get("allocated") or 16
    array = np.atleast_2d(np.asarray(picture, np.int64))
    pixels = (array & (1 << bits) - 1).astype(f"{how['order']}u{bits // 8}").tobytes()
    name = "pixel_bytes" if bits == 8 else "pixels"
    content = header(*array.shape[:2], **values) | {name: values.get(name, pixels)}
    return part10(elements(content, **how), syntax, preamble)


def frames(pictures: Any, /, **values: Any) -> bytes:
    """A file of several frames, (N, H, W) of 16 bits."""
    array = np.asarray(pictures).astype("<u2")
    return image(array[0], frames=len(array), pixels=array.tobytes(), **values)


def encapsulated(fragments: Sequence[bytes], syntax: str, **values: Any) -> bytes:
    """A file of compressed pixels; `values` with rows and columns, and maybe a table of offsets."""
    rows, columns, offsets = values.pop("rows"), values.pop("columns"), values.pop("offsets", ())
    parts = [
        struct.pack(f"<{len(offsets)}I", *offsets),
        *(fragment + b"\0" * (len(fragment) % 2) for fragment in fragments),
    ]
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in parts)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + items
    return part10(
        elements(header(rows, columns, **values)) + pixels + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), syntax
    )
