"""The run folder: the only place that knows its file names, and the only one that writes them.

recipe.toml  manifest.csv  environment.json           what was planned and on what
audit.json                                            what was found in the images
models/<model>.keras  models/<model>.json             the networks, each with its spec beside it
SHA256SUMS                                            of everything in models/
exports/<format>/<model>.*                            the networks for other runtimes, made on demand
history/<model>.csv   predictions/<model>-<split>.csv
metrics.json  results.md  report.html  model-card.md  checklist.md  figures/
state/                                                what a repeated command resumes from
cache/                                                decoded images and features; gone when the run is done
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from tumorboard import storage
from tumorboard.errors import ModelError, RunFolderError
from tumorboard.storage import TEMPORARY, sha256, shown, storage_error, write_json, write_text


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
    def audit(self) -> Path:
        """What the audit of the images found."""
        return self.root / "audit.json"

    @property
    def checksums(self) -> Path:
        """SHA-256 of every file in models/."""
        return self.root / "SHA256SUMS"

    @property
    def calibration(self) -> Path:
        """What validation taught about how far each model's answers may be trusted."""
        return self.root / "calibration.json"

    def unlike(self, name: str) -> Path:
        """What is known of the training images as the model embeds them, to tell what is unlike them."""
        return self.root / "models" / f"{name}.unlike.npz"

    @property
    def metrics(self) -> Path:
        """Every figure, for machines."""
        return self.root / "metrics.json"

    @property
    def results(self) -> Path:
        """Every figure, for people."""
        return self.root / "results.md"

    @property
    def report(self) -> Path:
        """Everything that people want to see, in one page."""
        return self.root / "report.html"

    @property
    def card(self) -> Path:
        """What the recommended model is for, and how good."""
        return self.root / "model-card.md"

    @property
    def checklist(self) -> Path:
        """What a paper on the run must say, filled in as far as the run knows it."""
        return self.root / "checklist.md"

    @property
    def cache(self) -> Path:
        """Decoded images and features."""
        return self.root / "cache"

    def model(self, name: str) -> Path:
        """The saved network."""
        return self.root / "models" / f"{name}.keras"

    def model_spec(self, name: str) -> Path:
        """What the network expects and answers, beside it."""
        return self.root / "models" / f"{name}.json"

    def export(self, name: str, format_name: str, suffix: str) -> Path:
        """The network for another runtime."""
        return self.root / "exports" / format_name / f"{name}{suffix}"

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

    def tracking(self, kind: str) -> Path:
        """What TensorBoard or MLflow keep of the trainings."""
        return self.root / "tracking" / kind

    @property
    def fingerprint(self) -> Path:
        """The settings, versions and files that the run was begun with; a resume compares them."""
        return self.root / "state" / "fingerprint.json"

    @property
    def phases(self) -> Path:
        """Seconds spent in each phase, over all resumes."""
        return self.root / "state" / "phases.json"

    @property
    def test_looks(self) -> Path:
        """How often the test part was scored."""
        return self.root / "test_looks.json"


def write_checksums(run: RunFolder) -> None:
    """Record the hash of every finished file in models/."""
    files = sorted(file for file in (run.root / "models").iterdir() if TEMPORARY not in file.name)
    write_text(run.checksums, "".join(f"{sha256(file)}  models/{file.name}\n" for file in files))


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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(
            f"expected JSON in {shown(path)}, found none that can be read; restore the file"
        ) from error
    return content if isinstance(content, dict) else {}
