"""Read NIfTI in a limited process of its own: `python -P -m tumorboard.data.nifti.worker`.

nibabel reads the header and its affine; it opens no file, and sees no extension of the header. The axes are
ordered and turned to right, anterior and superior (RAS) by the nearest axes of the patient, without
resampling. Slices across the last of them are axial, and are shown in radiological convention.

Grey, the first rule that applies:
    setting       the window that the user asks for, on the values after the file's slope and intercept
    percentiles   from the 0.5th to the 99.5th percentile of the whole volume
"""

import gzip
import hashlib
import io
import logging
import math
import os
import warnings
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tumorboard import optional
from tumorboard.data import sandbox
from tumorboard.data.dicom.reader import CHOOSE
from tumorboard.data.grey import LOST_CONTRAST, contrast_is_lost, linear, shaded, stretch
from tumorboard.data.nifti.reader import HEAD_BYTES, header_of
from tumorboard.errors import ImageError

MAX_BYTES = 1 << 30
"""Of a volume's values after decompression."""
MAX_SLICES = 10_000
PERCENTILES = (0.5, 99.5)

_MEMORY = 4 << 30
_SECONDS, _BYTES_PER_SECOND = 10, 30_000_000
_MAX_OFFSET = 64 << 20  # of the first value: between lie extensions
_LOOKED_AT = 2_000_000  # values for percentiles
_CHUNK = 1 << 20
_NOT_ORIENTED = "does not record its orientation: read as if the first axis ran to the left"
_NOT_HOUNSFIELD = "has no negative values, so no Hounsfield units, for which this window is meant"


@dataclass(frozen=True)
class Volume:
    """A volume of (right, anterior, superior).

    Args:
        stored: (R, A, S), as in the file.
        slope: By which stored values are multiplied.
        intercept: What is added then.
        sample: Some of its finite values after that.
        ends: Their percentiles.
        notes: What the user should know.
    """

    stored: npt.NDArray[Any]
    slope: float
    intercept: float
    sample: npt.NDArray[np.float64]
    ends: tuple[float, float]
    notes: tuple[str, ...]


_last_volume: dict[tuple[int | bytes, ...], Volume] = {}


def main() -> None:
    """Answer requests until standard input ends."""
    warnings.simplefilter("ignore")
    logging.getLogger("nibabel").disabled = True
    sandbox.limit_memory(_MEMORY)
    sandbox.answer_all(answer)


def answer(request: dict[str, Any], content: bytes) -> sandbox.Message:
    """Answer one request; an error is answered with what was found and its remedy."""
    sandbox.limit_time(_SECONDS)
    try:
        volume = _opened(Path(request["path"]) if "path" in request else content)
        if request["task"] == "count":
            return {"slices": volume.stored.shape[2]}, b""
        pixels, notes = show(volume, request["number"], request["setting"], request["max_pixels"])
        return {"shape": pixels.shape, "notes": notes}, pixels.tobytes()
    except Exception as error:
        fault = explained(error)
        return {"error": str(fault), "remedy": fault.remedy}, b""


def explained(error: Exception) -> ImageError:
    """Turn an error of nibabel, of decompression or of this module into one line."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, MemoryError):
        return ImageError("a NIfTI volume that does not fit into memory")
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return ImageError("a NIfTI file that is cut off or damaged")
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"a file that cannot be read ({error.strerror})")
    return ImageError(f"a damaged NIfTI file ({type(error).__name__})")


def _opened(source: Path | bytes) -> Volume:
    """Read a volume, or return the last one again: its slices are asked for in turn."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        key: tuple[int | bytes, ...]
        if isinstance(source, bytes):
            size, key = len(source), (hashlib.blake2b(source).digest(),)
        else:
            status = os.fstat(file.fileno())
            size, key = status.st_size, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if key not in _last_volume:
            _last_volume.clear()  # before the next one takes as much memory
            _last_volume[key] = read(file, size)
        return _last_volume[key]


def read(file: Any, size: int) -> Volume:
    """Read a volume; of a plain file only what is looked at comes into memory.

    Args:
        file: Open at its beginning, in binary.
        size: Of the file, bytes.

    Raises:
        ImageError: Not three dimensions, values that are no numbers, too large, cut off, or no orientation.
        Exception: It is damaged, see `explained`.
    """
    if find_spec("nibabel") is None:
        raise ImageError("NIfTI, and nibabel is not installed", optional.install("nibabel", extra="nifti"))
    import nibabel
    from nibabel.orientations import apply_orientation, io_orientation

    head = file.read(HEAD_BYTES)
    order, block = header_of(head)
    kind = nibabel.Nifti1Header if len(block) == nibabel.Nifti1Header.sizeof_hdr else nibabel.Nifti2Header
    header = kind(block, endianness=order)
    shape, dtype, offset = _form(header)
    length = math.prod(shape) * dtype.itemsize
    if head.startswith(b"\x1f\x8b"):
        sandbox.limit_time(_SECONDS + length // _BYTES_PER_SECOND)
        values = _decompressed(file, offset, length).view(dtype)
    elif size < offset + length:
        raise ImageError(f"NIfTI cut off after {max(0, size - offset)} of {length} bytes of values")
    elif isinstance(file, io.BytesIO):
        values = np.frombuffer(file.getvalue(), np.uint8, length, offset).view(dtype)
    else:
        values = np.memmap(file, dtype, "r", offset, (math.prod(shape),))
    slope, intercept = (float(number or 0) for number in header.get_slope_inter())
    slope = slope or 1.0
    affine = header.get_best_affine()
    orientation = io_orientation(affine) if np.isfinite(affine).all() else np.array([[np.nan]])
    if np.isnan(orientation).any():
        raise ImageError("NIfTI whose affine maps two axes onto one", "correct its sform or qform")
    sample = values[:: -(-len(values) // _LOOKED_AT)].astype(np.float64) * slope + intercept
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        raise ImageError("NIfTI without a finite value")
    notes = () if header["sform_code"] > 0 or header["qform_code"] > 0 else (_NOT_ORIENTED,)
    stored = apply_orientation(values.reshape(shape, order="F"), orientation)
    first, last = np.percentile(sample, PERCENTILES)
    return Volume(stored, slope, intercept, sample, (float(first), float(last)), notes)


def _form(header: Any) -> tuple[tuple[int, int, int], np.dtype[Any], int]:
    """Return the shape of a volume, the type of its values, and where they begin in the file."""
    rank, *lengths = (int(length) for length in header["dim"])
    written = tuple(lengths[: max(0, rank)])
    shape = (*written, 1, 1, 1)[:3]
    if not 1 <= rank <= 7 or min(written) < 1:
        raise ImageError("NIfTI whose dimensions make no sense")
    if math.prod(written[3:]) > 1:
        found = " x ".join(map(str, written))
        raise ImageError(f"NIfTI of {found} values, not one volume", "save each volume in a file of its own")
    dtype, offset = header.get_data_dtype(), float(header["vox_offset"])
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ImageError("NIfTI with values that are no real numbers of at most 64 bits")
    if not (header.sizeof_hdr <= offset <= _MAX_OFFSET and offset.is_integer()):
        raise ImageError("NIfTI whose values begin at a place that makes no sense")
    if max(shape) > MAX_SLICES:
        raise ImageError(
            f"NIfTI of {max(shape):,} values along an axis, more than the {MAX_SLICES:,} allowed"
        )
    if math.prod(shape) * dtype.itemsize > MAX_BYTES:
        found = " x ".join(map(str, shape))
        raise ImageError(f"NIfTI of {found} values, more than the {MAX_BYTES >> 20} MiB that are read")
    return (shape[0], shape[1], shape[2]), dtype, int(offset)


def _decompressed(file: Any, offset: int, length: int) -> npt.NDArray[np.uint8]:
    """Decompress exactly so many bytes from an offset."""
    file.seek(0)
    content, filled = bytearray(length), 0
    with gzip.GzipFile(fileobj=file) as stream:
        stream.seek(offset)
        while filled < length:
            count = stream.readinto(memoryview(content)[filled : filled + _CHUNK])
            if not count:
                raise ImageError(f"NIfTI cut off after {filled} of {length} bytes of values")
            filled += count
        stream.read(1)  # the end of most files, where their checksum is compared
    return np.frombuffer(content, np.uint8)


def show(
    volume: Volume, number: int, setting: list[Any] | None, max_pixels: int
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Show a slice.

    Args:
        volume: From `read`.
        number: Of the slice, from 1; 0 for the only one.
        setting: Centre and width of the user's window, and whether it is in Hounsfield units; or None.
        max_pixels: More are refused.

    Returns:
        uint8 (H, W), 0-255, and notes.

    Raises:
        ImageError: No such slice, or too large.
    """
    columns, rows, slices = volume.stored.shape
    if not number and slices > 1:
        raise ImageError(f"NIfTI with {slices} slices, which do not stand for one image", CHOOSE)
    if number > slices:
        raise ImageError(f"NIfTI of {slices} slices, so without slice {number}", "name another")
    if rows * columns > max_pixels:
        raise ImageError(f"{columns} x {rows} pixels, more than the {max_pixels:,} allowed")
    notes, sample = list(volume.notes), volume.sample
    low, high = float(sample.min()), float(sample.max())
    if setting:
        center, width, hounsfield = setting
        rule = linear(center, width)
        if hounsfield and low >= 0:
            notes.append(_NOT_HOUNSFIELD)
        if contrast_is_lost(sample, shaded(sample, rule, low, high)):
            notes.append(LOST_CONTRAST)
    else:
        rule = stretch(*volume.ends)
    # Seen from the feet: the patient's right side is on the left, the front at the top.
    values = volume.stored[::-1, ::-1, max(number, 1) - 1].T * volume.slope + volume.intercept
    known = np.isfinite(values)
    return shaded(np.where(known, values, low), rule, low, high) * known.astype(np.uint8), notes


if __name__ == "__main__":
    main()
