"""Hand uploads to decoding processes, and take raw pixels back; nothing is unpickled."""

import subprocess
import threading
from dataclasses import dataclass, field

import numpy as np

from tumorboard import recipe
from tumorboard.data import workers
from tumorboard.data.modes import Pixels
from tumorboard.errors import DataError

_SECONDS = 60


class DecoderEndedError(Exception):
    """The decoding process crashed, was killed or hung."""


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


@dataclass
class Decoders:
    """Decoding processes, started when they are needed and kept for the next upload; safe in threads."""

    _idle: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def decode(self, content: bytes, rule: recipe.Image) -> Upload:
        """The pixels of an uploaded file.

        Raises:
            DataError: Not an image, damaged, or too large.
            DecoderEndedError: The process ended instead of answering; the next upload gets a new one.
        """
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or workers.started("tumorboard.serving.decode_worker")
        alarm = threading.Timer(_SECONDS, worker.kill)
        alarm.start()
        try:
            header, pixels = workers.exchange(worker, {"rule": rule.model_dump()}, content)
        except BaseException as error:
            workers.end(worker)
            if isinstance(error, OSError | ValueError):
                raise DecoderEndedError from error
            raise
        finally:
            alarm.cancel()
        with self._lock:
            self._idle.append(worker)
        if "error" in header:
            raise DataError(str(header["error"]))
        array = np.frombuffer(pixels, np.uint8).reshape(header["shape"])
        return Upload(array, bool(header["dicom"]), tuple(header["notes"]))

    def close(self) -> None:
        """End the idle processes."""
        with self._lock:
            while self._idle:
                workers.end(self._idle.pop())

    @property
    def pids(self) -> list[int]:
        """The idle processes."""
        return [worker.pid for worker in self._idle]
