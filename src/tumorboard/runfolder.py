"""The run folder: the only place that knows its file names, and the only one that writes them.

    recipe.toml  manifest.csv  environment.json           what was planned and on what
    models/<model>.keras  models/<model>.json             the networks, each with its contract beside it
    SHA256SUMS                                            of everything in models/
    history/<model>.csv   predictions/<model>-<split>.csv
    metrics.json  results.md  figures/
    state/                                                what a repeated command resumes from
    cache/                                                decoded images and features; gone when the run is done

Every file is written to a temporary name, flushed to the disk and renamed, so that a reader finds the
old state or the new one, never half of one.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import filelock

from tumorboard.errors import ModelError, RunFolderError, StorageError

FORMAT_VERSION = 1
_TEMPORARY = ".writing"


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run; nothing here reads or writes."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The settings, every one written out."""
        return self.root / "recipe.toml"

    @property
    def manifest(self) -> Path:
        """The samples: id, path, split, label, group, sha256."""
        return self.root / "manifest.csv"

    @property
    def environment(self) -> Path:
        """Versions, threads, command, machine; what a resume compares with."""
        return self.root / "environment.json"

    @property
    def checksums(self) -> Path:
        """SHA-256 of every file in models/."""
        return self.root / "SHA256SUMS"

    @property
    def metrics(self) -> Path:
        """Every figure, for machines."""
        return self.root / "metrics.json"

    @property
    def results(self) -> Path:
        """Every figure, for people."""
        return self.root / "results.md"

    @property
    def cache(self) -> Path:
        """Decoded images and features."""
        return self.root / "cache"

    def model(self, name: str) -> Path:
        """The saved network."""
        return self.root / "models" / f"{name}.keras"

    def contract(self, name: str) -> Path:
        """What the network expects and answers, beside it."""
        return self.root / "models" / f"{name}.json"

    def history(self, name: str) -> Path:
        """Loss and accuracy of every epoch."""
        return self.root / "history" / f"{name}.csv"

    def predictions(self, name: str, split: str) -> Path:
        """A model's class probabilities for every sample of a split."""
        return self.root / "predictions" / f"{name}-{split}.csv"

    def figure(self, name: str) -> Path:
        """A picture of the results."""
        return self.root / "figures" / f"{name}.png"

    def state(self, name: str) -> Path:
        """Where a training that was interrupted goes on from."""
        return self.root / "state" / f"{name}.npz"

    def phases(self) -> Path:
        """Seconds spent in each phase, over all resumes."""
        return self.root / "state" / "phases.json"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` whole, or not at all.

    Raises:
        StorageError: No space, no permission, or any other fault of the disk.
    """
    temporary = path.with_name(f"{path.name}{_TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, atomically."""
    with writing(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file, atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON that any parser reads: no NaN, keys in the order given."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_with(path: Path, save: Callable[[Path], None]) -> None:
    """Let a library write a file of its own, which then appears at `path` whole.

    Args:
        path: Where the file goes.
        save: Called with a temporary path of the same suffix.
    """
    temporary = path.with_name(f"{_TEMPORARY}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def storage_error(path: Path, error: OSError) -> StorageError:
    """A fault of the disk in one line, with the space that is left."""
    existing = next((parent for parent in (path, *path.parents) if parent.exists()), Path("/"))
    free = shutil.disk_usage(existing).free / 1e6
    what = "no space left" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return StorageError(
        f"cannot write {path}: {what} ({free:.0f} MB free); make room or choose another --out, "
        "then repeat the command: what was finished is kept"
    )


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(run: RunFolder) -> None:
    """Record the hash of every finished file in models/."""
    files = sorted(file for file in (run.root / "models").iterdir() if _TEMPORARY not in file.name)
    write_text(run.checksums, "".join(f"{sha256(file)}  models/{file.name}\n" for file in files))


def verify(run: RunFolder, file: Path) -> None:
    """Refuse a model file that is not the one that was written.

    Raises:
        ModelError: The file is missing, has no recorded hash, or another one.
    """
    if not file.is_file():
        raise ModelError(
            f"expected a model at {file}, found none; `tumorboard train` with --out {run.root} makes it"
        )
    lines = run.checksums.read_text(encoding="utf-8").splitlines() if run.checksums.is_file() else []
    recorded = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    name = file.relative_to(run.root).as_posix()
    if recorded.get(name) != sha256(file):
        raise ModelError(
            f"{file} is not the file that the training wrote: its SHA-256 differs from the one in {run.checksums}; "
            "restore it, or train again into another folder"
        )


@contextlib.contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold the run folder for this process; the lock dies with the process.

    Raises:
        RunFolderError: Another process holds it; names its PID and host.
    """
    try:
        run.root.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(run.root / ".lock")
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunFolderError(
            f"{run.root} is in use by {_holder(run)}; wait for it to end, or choose another --out"
        ) from None
    except OSError as error:
        raise storage_error(run.root, error) from error
    try:
        _remove_leftovers(run)
        write_json(run.root / ".holder.json", {"pid": os.getpid(), "host": socket.gethostname()})
        yield
    finally:
        (run.root / ".holder.json").unlink(missing_ok=True)
        lock.release()


def _holder(run: RunFolder) -> str:
    try:
        holder = json.loads((run.root / ".holder.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "another process"
    return f"process {holder['pid']} on {holder['host']}"


def _remove_leftovers(run: RunFolder) -> None:
    """Delete half-written files of a process that was killed."""
    for file in run.root.rglob(f"*{_TEMPORARY}*"):
        if file.is_file():
            file.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; not possible on every system, and then not needed for atomicity."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
