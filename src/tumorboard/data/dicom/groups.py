"""Which DICOM files show one patient, as groups that a split must not tear apart and that name nobody.

A group is a keyed hash of the PatientID, or of the SeriesInstanceUID where the PatientID is empty or a
placeholder. The key is a hash of the beginnings of all the DICOM files of the data set: whoever has only
the groups, or the whole manifest, cannot try out ids, however few there are; and groups of two data sets
cannot be linked. The same files give the same groups in every run.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tumorboard.data.class_folders import Entry
from tumorboard.data.dicom import head
from tumorboard.data.dicom.head import HEAD_BYTES, Tag
from tumorboard.data.pixels import FAILURES

_BEGINNING = 1 << 16
_PLACEHOLDERS = frozenset(
    {b"", b"0", b"ANON", b"ANONYMOUS", b"ANONYMIZED", b"ANONYMISED", b"UNKNOWN", b"NONE"}
)


class _Identity(NamedTuple):
    patient: bytes
    series: bytes
    beginning: bytes


def filled(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The same entries with groups from their DICOM headers, if the data gives no group to any."""
    if any(entry.group for entry in entries):
        return entries
    found = groups([entry.path for entry in entries])
    return [replace(entry, group=group) for entry, group in zip(entries, found, strict=True)]


def groups(paths: Sequence[Path]) -> tuple[str, ...]:
    """For each file its group, "" where it is no DICOM or names neither patient nor series."""
    found = [_identity(path) for path in paths]
    key = hashlib.blake2b(b"".join(sorted(one.beginning for one in found if one))).digest()
    patient_of = {one.series: one.patient for one in found if one and one.patient and one.series}
    return tuple(_group(one, patient_of, key) if one else "" for one in found)


def _group(one: _Identity, patient_of: dict[bytes, bytes], key: bytes) -> str:
    patient = one.patient or patient_of.get(one.series, b"")
    name = b"patient " + patient if patient else b"series " + one.series if one.series else b""
    return f"dicom-{hashlib.blake2b(name, key=key, digest_size=8).hexdigest()}" if name else ""


def _identity(path: Path) -> _Identity | None:
    try:
        with path.open("rb") as file:
            if not head.recognised(file.read(HEAD_BYTES)):
                return None
            file.seek(0)
            beginning = hashlib.blake2b(file.read(_BEGINNING)).digest()
            file.seek(0)
            data = head.read(file).data
    except FAILURES:
        return None  # whoever decodes it says what is wrong with it
    patient, series = (data.raw(tag).strip(b" \0") for tag in (Tag.PATIENT, Tag.SERIES))
    return _Identity(b"" if patient.upper() in _PLACEHOLDERS else patient, series, beginning)
