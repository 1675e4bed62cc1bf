"""Read DICOM in a limited process of its own: `python -P -m tumorboard.data.dicom.worker`.

A decoder that aborts, hangs or fills the memory ends this process, and the reading of one file with it. What
is answered goes to the parent; so no value of a header is, except a photometric interpretation that is known.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tumorboard.data import sandbox
from tumorboard.data.dicom.display import Pixels, Setting, colour, functional_group, grey, palette
from tumorboard.data.dicom.geometry import Plane, order, plane
from tumorboard.data.dicom.header import (
    LimitedReader,
    ParsedHeader,
    explained,
    integers,
    raw,
    read_header,
    text,
)
from tumorboard.data.dicom.pixels import photometric, require_frames, stored_pixels
from tumorboard.data.dicom.reader import BURNED_IN, PREFIX
from tumorboard.data.grey import LOST_CONTRAST, contrast_is_lost
from tumorboard.errors import ImageError

PROGRAM = "begins with a program ({}), which DICOM allows and attackers use; do not run it or pass it on"

_MEMORY = 4 << 30
_SECONDS = 4
_BEGINNING = 1 << 16
_PLACEHOLDERS = re.compile(
    rb"[0X*?._-]*|ANON(YM(OUS|I[SZ]ED))?|DE-?IDENTIFIED|REMOVED|REDACTED|DELETED|UNKNOWN|NONE|NULL|N/?A",
    re.IGNORECASE,
)
"""What programs write in the place of a PatientID."""
_IDENTIFIERS = (
    "AccessionNumber",
    "InstitutionName",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientAddress",
)
_IDENTITY = ("PatientID", "SeriesInstanceUID")
_PROGRAMS = {
    b"MZ": "Windows",
    b"\x7fELF": "Linux",
    b"\xcf\xfa\xed\xfe": "macOS",
    b"\xce\xfa\xed\xfe": "macOS",
    b"\xca\xfe\xba\xbe": "macOS",
    b"#!": "a script",
}
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_last_header: dict[tuple[int, ...], ParsedHeader] = {}
_ULTRASOUND = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("3", "3.1", "6", "6.1", "6.2"))


def main() -> None:
    """Answer requests until standard input ends."""
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").disabled = True
    sandbox.limit_memory(_MEMORY)
    sandbox.answer_all(answer)


def answer(request: dict[str, Any], content: bytes) -> sandbox.Message:
    """Answer one request; an error is answered with what was found and its remedy."""
    sandbox.limit_time(_SECONDS)
    try:
        if request["task"] == "groups":
            paths = [Path(os.fsdecode(name)) for name in content.split(b"\0")]
            return {}, "\n".join(groups(paths)).encode()
        if request["task"] == "stacks":
            paths = [Path(os.fsdecode(name)) for name in content.split(b"\0")]
            return {}, json.dumps(stacks(paths)).encode()
        with io.FileIO(request["path"]) if "path" in request else io.BytesIO(content) as file:
            if request["task"] == "header":
                return header_facts(file), b""
            if request["task"] == "frames":
                return {"frames": frames(_parsed(file, several=True), request["max_pixels"])}, b""
            if request["task"] == "pseudonym":
                patient, series, _ = _identity(file)
                return {"pseudonym": _pseudonym(patient, series, bytes.fromhex(request["key"]))}, b""
            setting = Setting(*request["setting"]) if request["setting"] else None
            pixels, rule, notes = image(file, setting, request["max_pixels"], request["frame"])
        return {"shape": pixels.shape, "rule": rule, "notes": notes}, pixels.tobytes()
    except Exception as error:
        fault = explained(error)
        return {"error": str(fault), "remedy": fault.remedy}, b""


def _parsed(file: io.FileIO | io.BytesIO, several: bool) -> ParsedHeader:
    """Read a header, or the last one of several frames again: the groups of thousands of frames take time."""
    if not several or not isinstance(file, io.FileIO):
        return read_header(file, several=several)
    status = os.fstat(file.fileno())
    key = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    header = _last_header.get(key) or read_header(file, several=True)
    if header.syntax == DeflatedExplicitVRLittleEndian:  # its file is the inflated content
        return header
    _last_header.clear()
    _last_header[key] = header
    return replace(header, file=LimitedReader(file), notes=[])


def frames(header: ParsedHeader, max_pixels: int) -> list[int]:
    """Return the numbers of the frames, see `reader.frames`.

    Raises:
        Exception: They cannot be read; see `explained`.
    """
    if header.frames > 1:
        require_frames(header, max_pixels)
    numbers = range(1, header.frames + 1)
    planes = [_plane(replace(header, frame=number)) for number in numbers]
    return [numbers[index] for index in order(planes) or range(header.frames)]


def _plane(header: ParsedHeader) -> Plane:
    """Read the plane of a frame; unknown if it is damaged, because the pixels can be shown all the same."""
    groups = ("PlanePositionSequence", "PlaneOrientationSequence")
    with contextlib.suppress(ImageError):
        return plane(*(functional_group(header, group) for group in groups))
    return ()


def stacks(paths: Sequence[Path]) -> list[list[int]]:
    """Return places in `paths` by series, see `reader.stacks`."""
    members: dict[bytes | int, list[int]] = {}
    planes: list[Plane] = []
    for place, path in enumerate(paths):
        sandbox.limit_time(_SECONDS)
        series, where = b"", Plane()
        with contextlib.suppress(Exception), io.FileIO(path) as file:  # whoever decodes it reports the fault
            header = read_header(file, extra=_IDENTITY)
            series, where = raw(header.data, "SeriesInstanceUID").strip(b" \0"), _plane(header)
        members.setdefault(series or place, []).append(place)
        planes.append(where)
    return [
        [places[index] for index in order([planes[place] for place in places]) or range(len(places))]
        for places in members.values()
    ]


def image(
    file: io.FileIO | io.BytesIO, setting: Setting | None, max_pixels: int, frame: int = 0
) -> tuple[Pixels, str, list[str]]:
    """Read a frame, 0 for the only one: uint8 (H, W) grey or (H, W, 3) RGB, the rule, and notes.

    Raises:
        Exception: It cannot be read; see `explained`.
    """
    header = replace(_parsed(file, several=frame > 0), frame=frame or 1)
    if frame > header.frames:
        raise ImageError(f"DICOM of {header.frames} frames, so without frame {frame}", "name another")
    stored, layout = stored_pixels(header, max_pixels)
    if layout.samples > 1:
        pixels, rule = colour(stored, layout), "RGB"
    elif layout.photometric == "PALETTE COLOR":
        pixels, rule = palette(stored, layout, header.data), "PALETTE COLOR"
    else:
        pixels, rule = grey(stored, layout, header, setting)
    # Burned-in text that the header suggests, and a program in the preamble.
    reasons = []
    if text(header.data, "BurnedInAnnotation") == "YES":
        reasons.append("BurnedInAnnotation is YES")
    if header.sop_class == _SECONDARY or header.sop_class.startswith(f"{_SECONDARY}."):
        reasons.append("secondary capture")
    if header.sop_class in _ULTRASOUND or text(header.data, "Modality") == "US":
        reasons.append("ultrasound")
    notes = [BURNED_IN.format(", ".join(reasons))] if reasons else []
    if contrast_is_lost(stored, pixels):
        notes.append(LOST_CONTRAST)
    notes += [PROGRAM.format(kind) for start, kind in _PROGRAMS.items() if header.preamble.startswith(start)]
    return np.ascontiguousarray(pixels), rule, notes + header.notes


def header_facts(file: io.FileIO | io.BytesIO) -> dict[str, Any]:
    """Read the facts of `reader.DicomHeader`.

    Raises:
        Exception: The header cannot be read; see `explained`.
    """
    header = read_header(file, extra=_IDENTIFIERS, several=True)
    bits = integers(header.data, "BitsStored")
    identifiers = [name for name in _IDENTIFIERS if raw(header.data, name).strip(b" \0")]
    return {"photometric": photometric(header), "bits": bits[0] if bits else 0, "identifiers": identifiers}


class Identity(NamedTuple):
    """Whom a file shows, and a hash of its beginning."""

    patient: bytes
    series: bytes
    beginning: bytes


def groups(paths: Sequence[Path]) -> list[str]:
    """Return the group of each file, of all the files of a data set; see `reader.groups`."""
    identities = [_identity_at(path) for path in paths]
    key = hashlib.blake2b(b"".join(sorted(i.beginning for i in identities if i))).digest()
    patient_of = {i.series: i.patient for i in identities if i and i.patient and i.series}
    names = []
    for identity in identities:
        patient, series, _ = identity or Identity(b"", b"", b"")
        names.append(_pseudonym(patient or patient_of.get(series, b""), series, key))
    return names


def _pseudonym(patient: bytes, series: bytes, key: bytes) -> str:
    """Return a keyed hash of the patient, or of the series without one; "" without both."""
    name = b"patient " + patient if patient else b"series " + series if series else b""
    return f"{PREFIX}{hashlib.blake2b(name, key=key, digest_size=8).hexdigest()}" if name else ""


def _identity_at(path: Path) -> Identity | None:
    sandbox.limit_time(_SECONDS)
    try:
        with io.FileIO(path) as file:
            return _identity(file)
    except Exception:
        return None  # whoever decodes it reports the fault


def _identity(file: io.FileIO | io.BytesIO) -> Identity:
    """Read whom a file shows.

    Raises:
        Exception: The header cannot be read; see `explained`.
    """
    beginning = file.read(_BEGINNING)
    file.seek(0)
    data = read_header(file, extra=_IDENTITY, several=True).data
    patient, series = (raw(data, name).strip(b" \0") for name in _IDENTITY)
    patient = b"" if _PLACEHOLDERS.fullmatch(patient) else patient
    return Identity(patient, series, hashlib.blake2b(beginning).digest())


if __name__ == "__main__":
    main()
