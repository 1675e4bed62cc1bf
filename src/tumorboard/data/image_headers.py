"""Read how an image is stored: format, mode, bit depth, frames, and identifiers of DICOM; no pixels."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tumorboard.data.dicom import reader as dicom
from tumorboard.data.image_reader import FORMATS, split_address
from tumorboard.data.nifti import reader as nifti
from tumorboard.data.pixels import readers_quiet, stored_bits
from tumorboard.errors import TumorboardError


@dataclass(frozen=True, slots=True)
class Header:
    """How an image is stored.

    Args:
        format: PNG, JPEG, BMP, TIFF, WEBP, DICOM, NIFTI; "" if it was not recognised.
        mode: Of the pixels, as Pillow names it (L, RGB, RGBA, P, I;16 ...) or as DICOM does.
        bits: Of each value as stored.
        several: Whether there is more than one frame or page.
        identifiers: Names of the DICOM elements that identify somebody and are not empty; never a value.
    """

    format: str
    mode: str
    bits: int
    several: bool = False
    identifiers: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read the header of an image that `image_reader` can read; decodes nothing, accepts any file.

    Raises:
        SandboxStartError: It is DICOM, and the process that reads it cannot be started.
    """
    path, _ = split_address(path)
    try:
        with readers_quiet(), path.open("rb") as file:
            head = file.read(nifti.HEAD_BYTES)
            if nifti.recognised(head):
                return Header("NIFTI", "F", nifti.bits(head))
            if not dicom.recognised(head[: dicom.HEAD_BYTES]):
                file.seek(0)
                with Image.open(file, formats=FORMATS) as image:
                    several = bool(getattr(image, "is_animated", False))
                    return Header(image.format or "", image.mode, stored_bits(image), several)
        header = dicom.read_header(path)
        return Header("DICOM", header.photometric, header.bits, False, header.identifiers)
    except TumorboardError:
        raise
    except Exception:  # whatever a reader raises at a damaged file
        return Header("", "", 0)
