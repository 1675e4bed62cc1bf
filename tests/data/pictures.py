"""Image files made byte by byte, so that tests know their pixels without asking any decoder."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, chunks: bytes = b"") -> bytes:
    """`rows` are the packed rows without filter bytes; `chunks` go before IDAT."""
    stride = len(rows) // height if rows else 0
    lines = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height)) if rows else b"\0"
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunks + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(order: str, width: int, height: int, bits: int, photometric: int, data: bytes, **more: Any) -> bytes:
    """One strip, no compression.

    `more`: samples, sample_format, orientation, extra, smax, maximum, colormap.
    """
    samples = more.get("samples", 1)
    tags = {256: [width], 257: [height], 258: [bits] * samples, 259: [1], 262: [photometric]}
    tags |= {273: [0], 277: [samples], 278: [height], 279: [len(data)]}
    if "sample_format" in more:
        tags[339] = [more["sample_format"]] * samples
    for tag, name in ((274, "orientation"), (281, "maximum"), (338, "extra"), (341, "smax")):
        if name in more:
            tags[tag] = [more[name]]
    if "colormap" in more:
        tags[320] = more["colormap"]
    return _tiff(order, tags, data)


def _tiff(order: str, tags: dict[int, list[int]], data: bytes) -> bytes:
    after = 8 + 2 + 12 * len(tags) + 4
    long_values = {tag: struct.pack(f"{order}{len(v)}H", *v) for tag, v in tags.items() if len(v) > 2}
    start = after + sum(map(len, long_values.values()))
    directory, blob = struct.pack(f"{order}H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        if tag in long_values:
            directory += struct.pack(f"{order}HHII", tag, 3, len(values), after + len(blob))
            blob += long_values[tag]
        elif len(values) == 2:
            directory += struct.pack(f"{order}HHIHH", tag, 3, 2, *values)
        else:
            directory += struct.pack(f"{order}HHII", tag, 4, 1, start if tag == 273 else values[0])
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}I", 8) + directory + b"\0\0\0\0" + blob + data


def bmp(width: int, height: int, rows_bgr: bytes) -> bytes:
    """24 bits; `rows_bgr` from the bottom up, each padded to four bytes."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows_bgr), 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54 + len(rows_bgr), 0, 0, 54) + header + rows_bgr


def grey_png(value: int, size: int = 8) -> bytes:
    """A plain square; another value is another picture."""
    return png(size, size, 8, GREY, bytes([value]) * size * size)


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def close(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make folders of this name impossible to list, as root too."""
    listing = os.scandir

    def scandir(path: Any = ".") -> Any:
        if os.path.basename(os.fspath(path)) == name:
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)


def plant(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below `root`, which comes back."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root
