"""Hand uploads to decoding processes, and take raw pixels back; nothing is unpickled."""

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tumorboard import recipe
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
        worker = worker or _started()
        alarm = threading.Timer(_SECONDS, worker.kill)
        alarm.start()
        try:
            header, pixels = _exchange(worker, content, rule)
        except BaseException as error:
            _end(worker)
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
                _end(self._idle.pop())

    @property
    def pids(self) -> list[int]:
        """The idle processes."""
        return [worker.pid for worker in self._idle]


def _exchange(
    worker: "subprocess.Popen[bytes]", content: bytes, rule: recipe.Image
) -> tuple[dict[str, Any], bytes]:
    if worker.stdin is None or worker.stdout is None:
        raise OSError
    request = {"rule": rule.model_dump(), "bytes": len(content)}
    worker.stdin.write(json.dumps(request).encode() + b"\n" + content)
    worker.stdin.flush()
    header = json.loads(worker.stdout.readline())
    pixels = worker.stdout.read(header["bytes"])
    if len(pixels) < header["bytes"]:
        raise OSError
    return header, pixels


def _started() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tumorboard.serving.decode_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is ours to answer
    )


def _end(worker: "subprocess.Popen[bytes]") -> None:
    worker.kill()
    for pipe in (worker.stdin, worker.stdout):
        if pipe:
            try:
                pipe.close()
            except OSError:  # it ended with our request half written
                continue
    worker.wait()
