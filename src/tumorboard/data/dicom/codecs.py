"""Which package decodes which compression, and the processes that do it.

JPEG (8 bits) and RLE need pydicom and Pillow only. No decoder under the GPL is used, so lossy JPEG of 12
bits and video stay unread.
"""

import atexit
import os
import subprocess
import threading
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tumorboard.data import workers
from tumorboard.data.dicom.elements import DicomError

_SECONDS = 120


class Codec(NamedTuple):
    """How one transfer syntax is decoded: pydicom's plugin, the module it needs, and its pip package."""

    kind: str
    plugin: str
    module: str
    package: str


_J2K = Codec("JPEG 2000", "pylibjpeg", "openjpeg", "pylibjpeg pylibjpeg-openjpeg")
_JPEG = Codec("JPEG", "pillow", "PIL", "pillow")
_LOSSLESS = Codec("lossless JPEG", "gdcm", "gdcm", "python-gdcm")
_LS = Codec("JPEG-LS", "pyjpegls", "jpeg_ls", "pyjpegls")
RLE = Codec("RLE", "pydicom", "pydicom", "pydicom")
CODECS = {
    "1.2.840.10008.1.2.5": RLE,
    "1.2.840.10008.1.2.4.50": _JPEG,
    "1.2.840.10008.1.2.4.51": _JPEG,
    "1.2.840.10008.1.2.4.57": _LOSSLESS,
    "1.2.840.10008.1.2.4.70": _LOSSLESS,
    "1.2.840.10008.1.2.4.80": _LS,
    "1.2.840.10008.1.2.4.81": _LS,
    **{f"1.2.840.10008.1.2.4.{n}": _J2K for n in (90, 91, 201, 202, 203)},
}

_idle: list["subprocess.Popen[bytes]"] = []
_lock = threading.Lock()


def require(codec: Codec) -> None:
    """Check that a codec is installed.

    Raises:
        DicomError: It is not; the remedy names the package.
    """
    if find_spec(codec.module) is None or (codec.plugin == "pylibjpeg" and find_spec("pylibjpeg") is None):
        raise DicomError(f"{codec.kind} DICOM without its codec", f"pip install {codec.package}")


def decode(frame: bytes, syntax: str, options: dict[str, Any]) -> tuple[npt.NDArray[np.integer], str]:
    """Decode one compressed frame in another process.

    Args:
        frame: The codestream.
        syntax: UID of its transfer syntax, one of `CODECS`.
        options: Of `pydicom.pixels`: rows, columns, and so on.

    Returns:
        The pixels, (rows, columns) or (rows, columns, 3), and their photometric interpretation.

    Raises:
        DicomError: The decoder failed, hung, or gave another size.
    """
    request = {**options, "syntax": syntax, "plugin": CODECS[syntax].plugin}
    answer, content = _ask(request, frame)
    if "error" in answer:
        raise DicomError(f"DICOM with damaged {CODECS[syntax].kind} pixels")
    shape, dtype = tuple(answer["shape"]), np.dtype(answer["dtype"])
    pixels = np.frombuffer(content, dtype).reshape(shape)
    if shape[:2] != (options["rows"], options["columns"]):
        raise DicomError(f"DICOM whose decoded pixels are {shape[1]} x {shape[0]}, unlike its header")
    return pixels, str(answer["photometric"])


def _ask(request: dict[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes]:
    """Ask an idle worker, or a new one; one that fails is not asked again."""
    with _lock:
        worker = _idle.pop() if _idle else None
    worker = worker or workers.started("tumorboard.data.dicom.worker")
    alarm = threading.Timer(_SECONDS, worker.kill)
    alarm.start()
    try:
        answer = workers.exchange(worker, request, frame)
    except (OSError, ValueError):
        workers.end(worker)
        return {"error": "ended"}, b""
    except BaseException:  # an interruption amid an answer
        workers.end(worker)
        raise
    finally:
        alarm.cancel()
    with _lock:
        _idle.append(worker)
    return answer


@atexit.register
def _end_all() -> None:
    with _lock:
        while _idle:
            workers.end(_idle.pop())


def _forget() -> None:
    """After a fork the workers answer the parent only, who also ends them."""
    for worker in _idle:
        worker.returncode = 0
        for pipe in (worker.stdin, worker.stdout):
            if pipe:
                pipe.close()  # this process's end of it
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
