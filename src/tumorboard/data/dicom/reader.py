"""Read DICOM: pydicom and its decoders run in limited child processes (`worker`), and only pixels come back.

A hostile header can fill the memory of whoever parses it, native decoders abort, hang or crash on damaged
frames (seen with one changed frame in forty), and messages of pydicom quote values that may identify a
patient. So the parent recognises a DICOM file by its first bytes and leaves the rest to a child; of the
header nothing comes back but what the functions here return.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tumorboard.data.sandbox import SandboxEndedError, SandboxPool
from tumorboard.errors import ImageError

if TYPE_CHECKING:  # the child does without: it starts in half the time
    from tumorboard.config import Window

HEAD_BYTES = 132
CHOOSE = "choose with --frames all, --frames middle or --frames N"
"""What to do with a file of several frames."""
PREFIX = "dicom-"
"""Begins the name of a group that DICOM headers gave."""
BURNED_IN = "may carry burned-in text ({}): its header says so, the pixels were not searched"
POOL = SandboxPool("tumorboard.data.dicom.worker", seconds=120)

_SECONDS_PER_HEADER = 1


@dataclass(frozen=True, slots=True)
class DicomImage:
    """A DICOM image as it is shown.

    Args:
        pixels: uint8 (H, W, 3), RGB, 0-255.
        rule: How values became grey (see `display`), or "RGB", "PALETTE COLOR".
        notes: What the user should know, without the file's name.
    """

    pixels: npt.NDArray[np.uint8]
    rule: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """What the audit wants to know of a header.

    Args:
        photometric: The photometric interpretation; "" for one that is not read.
        bits: Of each value as stored.
        identifiers: Keywords of the elements that identify somebody and are not empty; never a value.
    """

    photometric: str
    bits: int
    identifiers: tuple[str, ...]


def recognised(head: bytes) -> bool:
    """Check whether a file that begins with these 132 bytes is to be read as DICOM.

    "DICM" after a preamble; or, as older archives write it, an element of group 2 or 8 at once, with a
    value representation or a length that is plausible there.
    """
    if head[128:HEAD_BYTES] == b"DICM":
        return True
    if len(head) < 12 or (head[:2] not in (b"\x02\0", b"\x08\0") and head[:3] != b"\0\x08\0"):
        return False
    length = int.from_bytes(head[4:8], "little")
    return is_vr(head[4:6]) or (head[0] == 8 and head[3] == 0 and length <= 256 and length % 2 == 0)


def is_vr(letters: bytes) -> bool:
    """Check whether these two bytes may be a value representation."""
    return len(letters) == 2 and letters.isalpha() and letters.isupper()


def read(source: Path | bytes, window: "Window | None", max_pixels: int, frame: int = 0) -> DicomImage:
    """Read a recognised DICOM file.

    Args:
        source: A file, or its content.
        window: Which values become black and white; None for the file's own window.
        max_pixels: More than this are refused before decoding.
        frame: Its number, from 1; 0 for the only one.

    Raises:
        ImageError: The object has no such frame or no single one, it cannot be read, or a codec is missing.
        SandboxStartError: No child process can be started.
    """
    setting = [window.name, window.center, window.width, window.hounsfield] if window else None
    request = {"task": "image", "setting": setting, "max_pixels": max_pixels, "frame": frame}
    answer, content = _ask(request, source)
    pixels = np.frombuffer(content, np.uint8).reshape(answer["shape"])
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    return DicomImage(pixels, answer["rule"], tuple(answer["notes"]))


def frames(source: Path | bytes, max_pixels: int) -> tuple[int, ...]:
    """Return the numbers of a recognised DICOM file's frames in the order in which they lie in the patient.

    Where their positions are not known, or are not those of one stack, they are in the order of the file.

    Args:
        source: A file, or its content.
        max_pixels: Frames of more are refused.

    Raises:
        ImageError: It has not the frames that its header counts, too many, or no image.
        SandboxStartError: No child process can be started.
    """
    answer, _ = _ask({"task": "frames", "max_pixels": max_pixels}, source)
    return tuple(answer["frames"])


def read_header(path: Path) -> DicomHeader:
    """Read the header of a recognised DICOM file; decodes nothing.

    Raises:
        ImageError: The header is damaged.
        SandboxStartError: No child process can be started.
    """
    answer, _ = _ask({"task": "header"}, path)
    return DicomHeader(answer["photometric"], answer["bits"], tuple(answer["identifiers"]))


def groups(paths: Sequence[Path]) -> tuple[str, ...]:
    """Find which files show one patient, as groups that a split must not tear apart and that name nobody.

    A group is a keyed hash of the PatientID, or of the SeriesInstanceUID where the PatientID is empty or a
    placeholder. The key is a hash of the beginnings of all the DICOM files: whoever has only the groups, or
    the whole manifest, cannot try out ids, however few there are; and groups of two data sets cannot be
    linked. The same files give the same groups in every run.

    Returns:
        The group of each file; "" where it is not DICOM or names neither patient nor series.

    Raises:
        ImageError: A child process ended; no file is known to be at fault.
        SandboxStartError: No child process can be started.
    """
    recognised_paths = [path for path in paths if _is_dicom(path)]
    if not recognised_paths:
        return ("",) * len(paths)
    answer = _ask_of_headers("groups", recognised_paths)
    group_of = dict(zip(recognised_paths, answer.decode().split("\n"), strict=True))
    return tuple(group_of.get(path, "") for path in paths)


def stacks(paths: Sequence[Path]) -> list[list[Path]]:
    """Put the files of a series together, in the order in which they lie in the patient.

    They stay in the order of `paths` where their positions are not known, or are not those of one stack.

    Returns:
        The files by series, in the order of the first of each; any other file, also DICOM of several frames
        and one whose header cannot be read, by itself.

    Raises:
        ImageError: A child process ended, and none ends at any file alone.
        SandboxStartError: No child process can be started.
    """
    places = [place for place, path in enumerate(paths) if _is_dicom(path)]

    def ask() -> bytes:
        return _ask_of_headers("stacks", [paths[place] for place in places]) if len(places) > 1 else b"[]"

    try:
        answer = ask()
    except ImageError:  # a child process ended, at which file is not known
        places = [place for place in places if _has_header(paths[place])]
        answer = ask()
    stack_of: dict[int, list[Path]] = {}
    for members in json.loads(answer):
        stack = [paths[places[member]] for member in members]
        stack_of |= {places[member]: stack for member in members}
    found = [stack_of.get(place, [path]) for place, path in enumerate(paths)]
    return list({id(stack): stack for stack in found}.values())


def _is_dicom(path: Path) -> bool:
    if not path.is_file():  # opening a pipe would wait for a writer for ever
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:  # whoever decodes it reports the fault
        return recognised(file.read(HEAD_BYTES))
    return False


def _has_header(path: Path) -> bool:
    try:
        read_header(path)
    except ImageError:  # whoever decodes it reports the fault
        return False
    return True


def _ask_of_headers(task: str, paths: Sequence[Path]) -> bytes:
    content = b"\0".join(os.fsencode(path.absolute()) for path in paths)
    _, answer = _ask({"task": task}, content, POOL.seconds + _SECONDS_PER_HEADER * len(paths))
    return answer


def pseudonym(content: bytes, key: bytes) -> str:
    """Return a keyed hash of the patient whom a file shows, as `groups` does for the files of a data set.

    Args:
        content: A file.
        key: 64 bytes at most; pseudonyms of different keys cannot be linked.

    Returns:
        "" where it is not DICOM or names neither patient nor series.

    Raises:
        ImageError: The header cannot be read.
        SandboxStartError: No child process can be started.
    """
    if not recognised(content[:HEAD_BYTES]):
        return ""
    answer, _ = _ask({"task": "pseudonym", "key": key.hex()}, content)
    return str(answer["pseudonym"])


def _ask(
    request: dict[str, Any], source: Path | bytes, seconds: float | None = None
) -> tuple[dict[str, Any], bytes]:
    try:
        answer, content = POOL.ask_of_file(request, source, seconds)
    except SandboxEndedError:
        raise ImageError(
            "DICOM with damaged pixels or header, at which the decoding process ended twice"
        ) from None
    if "error" in answer:
        raise ImageError(answer["error"], answer["remedy"])
    return answer, content
