"""Who may work in a run folder: one process in the whole of it, or several that each make a model."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from tumorboard.errors import RunFolderError
from tumorboard.runfolder import RunFolder
from tumorboard.storage import TEMPORARY, shown, storage_error, write_json

_LOCK, _HOLDER = ".lock", ".holder{}.json"
_PATIENCE = 20  # looks at the holder's note, 30 ms apart


class FolderInUse(RunFolderError):
    """Another process works in the run folder."""


@contextlib.contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold the run folder for this process; the lock dies with the process.

    Raises:
        FolderInUse: Another process holds it, or makes a model of it (names its PID and host).
        RunFolderError: It is a folder of other files.
        StorageError: It cannot be made or written.
    """
    with _held(run):
        for lock in run.root.glob(f"{_LOCK}-*"):
            _acquired(run, lock.name.removeprefix(_LOCK)).release()  # nobody makes this model
        _remove_leftovers(run)
        yield


@contextlib.contextmanager
def locked_part(run: RunFolder, name: str) -> Iterator[None]:
    """Hold one part of a run, such as a model, that another process holds the whole of and has handed out.

    Raises:
        As `locked`.
    """
    with _held(run, f"-{name}"):
        yield


@contextlib.contextmanager
def _held(run: RunFolder, part: str = "") -> Iterator[None]:
    lock, holder = _acquired(run, part), run.root / _HOLDER.format(part)
    try:
        write_json(holder, {"pid": os.getpid(), "host": socket.gethostname()})
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _acquired(run: RunFolder, part: str) -> filelock.BaseFileLock:
    try:
        _require_own(run)
        run.root.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(run.root / f"{_LOCK}{part}")
        lock.acquire(timeout=0)
        return lock
    except filelock.Timeout:
        raise FolderInUse(
            f"{shown(run.root)} is in use by {_who(run.root / _HOLDER.format(part))}; "
            "wait for it to end, or choose another --out"
        ) from None
    except OSError as error:
        raise storage_error(run.root, error) from error


def _require_own(run: RunFolder) -> None:
    """Files are deleted in a run folder by their names, so it must be new, or be one already."""
    if not run.root.is_dir() or not any(run.root.iterdir()):
        return
    if not (run.root / _LOCK).exists() and not run.fingerprint.exists():
        raise RunFolderError(
            f"expected a new folder or one of an earlier run at {shown(run.root)}, found other files there; "
            "choose another --out"
        )


def _who(note: Path) -> str:
    """Who has the lock; it says so a moment after it has taken it."""
    for _ in range(_PATIENCE):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            holder = json.loads(note.read_text(encoding="utf-8"))
            pid, host = int(holder["pid"]), str(holder["host"])
            if host != socket.gethostname() or _lives(pid):
                return f"process {pid} on {host}"
        time.sleep(0.03)
    return "another process"


def _lives(pid: int) -> bool:
    """Whether there is such a process; one that was killed leaves its note behind."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove_leftovers(run: RunFolder) -> None:
    """Delete half-written files of a process that was killed."""
    try:
        for file in run.root.rglob(f"{TEMPORARY}-*"):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(run.root, error) from error
