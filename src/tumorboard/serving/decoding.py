"""Hand uploads to decoding processes, and take raw pixels back; nothing is unpickled."""

from dataclasses import dataclass

import numpy as np

from tumorboard import config
from tumorboard.data.pixels import Pixels
from tumorboard.data.sandbox import SandboxPool, SandboxStartError
from tumorboard.errors import DataError


@dataclass(frozen=True)
class Upload:
    """A decoded upload.

    Args:
        pixels: uint8 (size, size, 3), what the networks are given.
        dicom: Whether it was a DICOM file.
        notes: What the user should know about the file.
    """

    pixels: Pixels
    dicom: bool
    notes: tuple[str, ...]


def decoders() -> SandboxPool:
    """Make the pool of decoding processes."""
    return SandboxPool("tumorboard.serving.decode_worker", seconds=60)


def decode(pool: SandboxPool, content: bytes, rule: config.Image) -> Upload:
    """Decode an uploaded file.

    Raises:
        DataError: Not an image, damaged, or too large.
        SandboxEndedError: The process ended instead of answering; the next upload gets a new one.
        SandboxStartError: No process can be started.
    """
    header, pixels = pool.ask({"rule": rule.model_dump()}, content)
    if "not_started" in header:
        raise SandboxStartError(str(header["not_started"]))
    if "error" in header:
        raise DataError(str(header["error"]))
    array = np.frombuffer(pixels, np.uint8).reshape(header["shape"])
    return Upload(array, bool(header["dicom"]), tuple(header["notes"]))
