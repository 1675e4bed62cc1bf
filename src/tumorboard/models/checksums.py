"""SHA256SUMS of a run folder: which files are its models, and whether they are still what was trained."""

from pathlib import Path

from tumorboard import storage
from tumorboard.errors import ModelError, RunFolderError
from tumorboard.runfolder import RunFolder


def recorded(run: RunFolder) -> dict[str, str]:
    """Hashes, hex, by file name in models/; a name that leads elsewhere is no such name.

    Raises:
        RunFolderError: There is none: no run folder, or a run that is not finished.
    """
    try:
        text = run.checksums.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"expected a finished run with SHA256SUMS in {storage.shown(run.root)}, found none that can be "
            "read; check the path, or repeat tumorboard train until it is done"
        ) from error
    pairs = (line.split("  models/", 1) for line in text.splitlines())
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2 and is_plain(pair[1])}


def is_plain(name: str) -> bool:
    """Whether it names a file in the folder that it is joined to, whatever the system."""
    return bool(name.strip(" .")) and not any(one in name for one in "/\\:\0")


def verify(path: Path, hashes: dict[str, str]) -> None:
    """Compare a file in models/ with its record, before anything reads it.

    Raises:
        ModelError: It is missing, not listed, or another one; names it.
    """
    where = storage.shown(path)
    if path.name not in hashes:
        raise ModelError(f"expected {where} in the run's SHA256SUMS, found it not listed; train again")
    try:
        found = storage.sha256(path)
    except OSError as error:
        raise ModelError(f"expected {where}, which SHA256SUMS lists, found no file to read") from error
    if found != hashes[path.name]:
        raise ModelError(
            f"{where} is not the file that was trained: its SHA-256 is not the one in SHA256SUMS; "
            "restore it or train again"
        )
