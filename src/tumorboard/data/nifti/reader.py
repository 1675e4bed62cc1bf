"""Read NIfTI: nibabel and decompression run in limited child processes (`worker`), and only pixels come back.

The parent recognises a file by its header, of which it decompresses no more than that.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tumorboard.data.sandbox import SandboxEndedError, SandboxPool
from tumorboard.errors import ImageError

if TYPE_CHECKING:  # the child does without
    from tumorboard.config import Window

HEAD_BYTES = 4096
"""Of a file; the header, which begins it, takes up to 540, and compresses well."""
SIZES: Mapping[int, tuple[int, bytes, int]] = {348: (344, b"n+1\0", 70), 540: (4, b"n+2\0\r\n\x1a\n", 12)}
"""By the size of a header, where its magic string begins, that string, and where the data type does."""
POOL = SandboxPool("tumorboard.data.nifti.worker", seconds=120)

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class NiftiSlice:
    """A slice as it is shown.

    Args:
        pixels: uint8 (H, W), grey, 0-255; front of the patient at the top, right side on the left.
        notes: What the user should know, without the file's name.
    """

    pixels: npt.NDArray[np.uint8]
    notes: tuple[str, ...]


def header_of(head: bytes) -> tuple[str, bytes]:
    """Return the byte order and the header of NIfTI in one file, plain or compressed; "" for other files.

    Args:
        head: The first `HEAD_BYTES` of a file.
    """
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, max(SIZES))
        except zlib.error:
            return "", b""
    for order in "<>":
        size = struct.unpack(f"{order}i", head[:4].ljust(4, b"\0"))[0]
        if size in SIZES and len(head) >= size:
            start, magic, _ = SIZES[size]
            if head[start : start + len(magic)] == magic:
                return order, head[:size]
    return "", b""


def recognised(head: bytes) -> bool:
    """Check whether a file that begins with these `HEAD_BYTES` is to be read as NIfTI."""
    return bool(header_of(head)[0])


def bits(head: bytes) -> int:
    """Return the bits of each value as stored, of a recognised file."""
    order, header = header_of(head)
    _, _, place = SIZES[len(header)]
    return int(struct.unpack_from(f"{order}h", header, place + 2)[0])


def count_slices(source: Path | bytes) -> int:
    """Return the number of axial slices of a recognised NIfTI file.

    Args:
        source: A file, or its content.

    Raises:
        ImageError: It is no volume that is read, or too large, cut off or damaged, or nibabel is missing.
        SandboxStartError: No child process can be started.
    """
    answer, _ = _ask({"task": "count"}, source)
    return int(answer["slices"])


def read(source: Path | bytes, window: "Window | None", max_pixels: int, number: int = 0) -> NiftiSlice:
    """Read an axial slice of a recognised NIfTI file.

    Args:
        source: A file, or its content.
        window: Which values become black and white; None for percentiles of the volume, see `worker`.
        max_pixels: A slice of more is refused.
        number: From 1, from the feet to the head; 0 for the only one.

    Raises:
        ImageError: As `count_slices`; or there is no such slice or no single one.
        SandboxStartError: No child process can be started.
    """
    setting = [window.center, window.width, window.hounsfield] if window else None
    request = {"task": "slice", "number": number, "setting": setting, "max_pixels": max_pixels}
    answer, content = _ask(request, source)
    return NiftiSlice(np.frombuffer(content, np.uint8).reshape(answer["shape"]), tuple(answer["notes"]))


def _ask(request: dict[str, Any], source: Path | bytes) -> tuple[dict[str, Any], bytes]:
    try:
        answer, content = POOL.ask_of_file(request, source)
    except SandboxEndedError:
        raise ImageError("a damaged NIfTI file, at which the decoding process ended twice") from None
    if "error" in answer:
        raise ImageError(answer["error"], answer["remedy"])
    return answer, content
