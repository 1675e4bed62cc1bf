"""Which package decodes which compression, and the processes that do it.

JPEG (8 bits) and RLE need pydicom and Pillow only. No decoder under the GPL is used, so lossy JPEG of 12
bits and video stay unread.
"""

from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tumorboard.data.dicom.elements import DicomError
from tumorboard.data.sandbox import SandboxEndedError, SandboxPool

POOL = SandboxPool("tumorboard.data.dicom.worker", seconds=120)


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
        SandboxStartError: The process cannot be started.
    """
    request = {**options, "syntax": syntax, "plugin": CODECS[syntax].plugin}
    damaged = f"DICOM with damaged {CODECS[syntax].kind} pixels"
    try:
        answer, content = POOL.ask(request, frame)
    except SandboxEndedError:
        raise DicomError(damaged) from None
    if "error" in answer:
        raise DicomError(damaged)
    shape, dtype = tuple(answer["shape"]), np.dtype(answer["dtype"])
    pixels = np.frombuffer(content, dtype).reshape(shape)
    if shape[:2] != (options["rows"], options["columns"]):
        raise DicomError(f"DICOM whose decoded pixels are {shape[1]} x {shape[0]}, unlike its header")
    return pixels, str(answer["photometric"])
