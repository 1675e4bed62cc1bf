"""The run folder: its file names, its lock, and the hashes of its models.

recipe.toml  manifest.csv  environment.json           settings, samples, versions
audit.json  leak_meter.json                           findings of the audit
models/<model>.keras  models/<model>.json             the networks, each with its spec beside it
models/all.onnx  models/all.onnx.json                 all networks in one file for `predict`, and its record
SHA256SUMS                                            of everything in models/
exports/<format>/<model>.*                            the networks for other runtimes, made on demand
calibration.json  patients.json                       chosen on validation
history/<model>.csv   predictions/<model>-<split>.csv
metrics.json  summary.txt  results.md  report.html  model-card.md  checklist.md  figures/
state/                                                what a repeated command resumes from; its progress
cache/                                                decoded images and features; gone when the run is done
"""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from tumorboard.errors import ModelError, RunFolderError, UsageError, display
from tumorboard.storage import TEMPORARY, read_regular, sha256, storage_error, write_json, write_text

HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
"""Of the history of a model, one row per epoch."""

_LOCK, _HOLDER = ".lock", ".holder{}.json"
_LONGEST_HOLDER = 1 << 16  # bytes
_ATTEMPTS = 20  # to read who holds the lock, 30 ms apart


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run; nothing here reads or writes."""

    root: Path

    @property
    def recipe(self) -> Path:
        """Every setting of the run."""
        return self.root / "recipe.toml"

    @property
    def manifest(self) -> Path:
        """The samples: id, path, split, label, group, sha256."""
        return self.root / "manifest.csv"

    @property
    def environment(self) -> Path:
        """Versions, threads, command and machine."""
        return self.root / "environment.json"

    @property
    def audit(self) -> Path:
        """Findings of the audit."""
        return self.root / "audit.json"

    @property
    def leak_meter(self) -> Path:
        """How much of the accuracy on a random split is recognition of patients."""
        return self.root / "leak_meter.json"

    @property
    def checksums(self) -> Path:
        """SHA-256 of every file in models/."""
        return self.root / "SHA256SUMS"

    @property
    def calibration(self) -> Path:
        """Temperature, prediction sets and referral of each model, fitted on validation."""
        return self.root / "calibration.json"

    @property
    def patients(self) -> Path:
        """How each model's predictions of a patient's images are combined, chosen on validation."""
        return self.root / "patients.json"

    def out_of_distribution(self, name: str) -> Path:
        """The out-of-distribution detector on a model's embeddings."""
        return self.root / "models" / f"{name}.ood.npz"

    @property
    def metrics(self) -> Path:
        """Every number, for machines."""
        return self.root / "metrics.json"

    @property
    def results(self) -> Path:
        """Every number, for people."""
        return self.root / "results.md"

    @property
    def report(self) -> Path:
        """The results as a page with figures."""
        return self.root / "report.html"

    @property
    def summary(self) -> Path:
        """The most important results in a few lines, as the commands print them."""
        return self.root / "summary.txt"

    @property
    def card(self) -> Path:
        """The model card of the recommended model."""
        return self.root / "model-card.md"

    @property
    def checklist(self) -> Path:
        """The reporting checklist, filled in as far as the run knows it."""
        return self.root / "checklist.md"

    @property
    def cache(self) -> Path:
        """Decoded images and features."""
        return self.root / "cache"

    @property
    def joint_graph(self) -> Path:
        """All networks of the run in one file, which `predict` and `serve` compute."""
        return self.root / "models" / "all.onnx"

    def model(self, name: str) -> Path:
        """The saved network."""
        return self.root / "models" / f"{name}.keras"

    def model_spec(self, name: str) -> Path:
        """The specification of the network: its input, classes and origin."""
        return self.root / "models" / f"{name}.json"

    def export(self, name: str, format_name: str, suffix: str) -> Path:
        """The network for another runtime."""
        return self.root / "exports" / format_name / f"{name}{suffix}"

    def history(self, name: str) -> Path:
        """Loss and accuracy of every epoch, a table of `HISTORY_COLUMNS`."""
        return self.root / "history" / f"{name}.csv"

    def predictions(self, name: str, split: str) -> Path:
        """A model's class probabilities for every sample of a split."""
        return self.root / "predictions" / f"{name}-{split}.csv"

    def figure(self, name: str) -> Path:
        """A figure of the results."""
        return self.root / "figures" / f"{name}.png"

    def state(self, name: str) -> Path:
        """The checkpoint from which an interrupted training resumes."""
        return self.root / "state" / f"{name}.npz"

    def tracking(self, kind: str) -> Path:
        """The training curves, as TensorBoard or MLflow stores them."""
        return self.root / "tracking" / kind

    @property
    def fingerprint(self) -> Path:
        """Settings, versions and files of the run; a resume compares them."""
        return self.root / "state" / "fingerprint.json"

    @property
    def phases(self) -> Path:
        """Seconds spent in each phase, over all resumes."""
        return self.root / "state" / "phases.json"

    @property
    def progress(self) -> Path:
        """How far the work is, see `run_state`."""
        return self.root / "state" / "progress.json"

    @property
    def job(self) -> Path:
        """What was chosen on the page of `tumorboard ui`, for a resume."""
        return self.root / "state" / "job.json"

    @property
    def job_process(self) -> Path:
        """The process that the page started."""
        return self.root / "state" / "process.json"

    @property
    def queued(self) -> Path:
        """The server in which the run waits for its turn; the older file is the earlier turn."""
        return self.root / "state" / "queued.json"

    @property
    def log(self) -> Path:
        """What the processes that the page started printed."""
        return self.root / "state" / "log.txt"

    @property
    def test_evaluations(self) -> Path:
        """When test was scored."""
        return self.root / "test_evaluations.json"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever is raised while a file of a run is read and taken apart into one error.

    Raises:
        RunFolderError: The file is missing, or was changed since it was written.
    """
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunFolderError(
            f"expected what tumorboard wrote in {display(path)}, found nothing like it; restore the file"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    with reading(path):
        return dict(json.loads(path.read_text(encoding="utf-8")).items())


def write_checksums(run: RunFolder, *changed: Path) -> None:
    """Record the hash of every finished file in models/, or of those alone that changed."""
    hashes = read_checksums(run) if changed else {}
    for file in changed or (run.root / "models").iterdir():
        if file.is_file() and TEMPORARY not in file.name:
            hashes[file.name] = sha256(file)
    write_text(run.checksums, "".join(f"{hashes[name]}  models/{name}\n" for name in sorted(hashes)))


def read_checksums(run: RunFolder) -> dict[str, str]:
    """Read the hashes, hex, by file name in models/; names that lead elsewhere are left out.

    Raises:
        RunFolderError: There is none: no run folder, or a run that is not finished.
    """
    try:
        text = run.checksums.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"expected a finished run with SHA256SUMS in {display(run.root)}, found none that can be "
            "read; check the path, or repeat tumorboard train until it is done"
        ) from error
    pairs = (line.split("  models/", 1) for line in text.splitlines())
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2 and is_plain(pair[1])}


def select_models(
    run: RunFolder, hashes: Mapping[str, str], wanted: Sequence[str]
) -> tuple[tuple[str, ...], str]:
    """Return the models to load, all by default, in the order of metrics.json, and the recommended one.

    Raises:
        UsageError: The run has no such model.
        RunFolderError: metrics.json is damaged.
    """
    metrics = read_json(run.metrics) if run.metrics.is_file() else {}
    with reading(run.metrics):
        evaluated = list(metrics.get("models", {}))
        recommended = str(metrics.get("recommendation", {}).get("model", "ensemble"))
    saved = [name.removesuffix(".keras") for name in hashes if name.endswith(".keras")]
    known = [name for name in evaluated if name in saved] or saved
    known += [name for name in saved if name not in known]
    unknown = [name for name in wanted if name not in known]
    if unknown or not known:
        received = f"{unknown[0][:60]!r}" if unknown else "none"
        raise UsageError(f"expected models of the run ({', '.join(known)[:120]}), found {received}")
    names = tuple(name for name in known if not wanted or name in wanted)
    if recommended not in names:
        recommended = "ensemble" if "ensemble" in names else names[0]
    return names, recommended


def digest_of_networks(hashes: Mapping[str, str], names: Sequence[str]) -> str:
    """Hash the hashes of some networks, in this order: it identifies what a joint graph was made of."""
    return hashlib.sha256(" ".join(hashes[f"{name}.keras"] for name in names).encode()).hexdigest()


def is_plain(name: str) -> bool:
    """Whether it names a file in the folder that it is joined to, whatever the system."""
    return bool(name.strip(" .")) and not any(character in name for character in "/\\:\0")


def require_model_file(path: Path) -> None:
    """Check, without Keras, that there is a file of a model.

    Raises:
        ModelError: There is none, or of another format.
    """
    if path.suffix != ".keras":  # other formats can run code when they are loaded, safe mode or not
        raise ModelError(f"expected a .keras file, found {display(path)}; no other format is read")
    if not path.is_file():
        raise ModelError(f"expected a model at {display(path)}, found no file there; check the path")


def verify(path: Path, hashes: Mapping[str, str]) -> None:
    """Compare a file in models/ with its recorded hash, before anything reads it.

    Raises:
        ModelError: It is missing, not listed, or another one; names it.
    """
    where = display(path)
    if path.name not in hashes:
        raise ModelError(f"expected {where} in the run's SHA256SUMS, found it not listed; train again")
    try:
        digest = sha256(path)
    except OSError as error:
        raise ModelError(f"expected {where}, which SHA256SUMS lists, found no file to read") from error
    if digest != hashes[path.name]:
        raise ModelError(
            f"{where} is not the file that was trained: its SHA-256 is not the one in SHA256SUMS; "
            "restore it or train again"
        )


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
            _acquired(run, lock.name.removeprefix(_LOCK)).release()  # no process trains this model
        try:
            for file in run.root.rglob(f"{TEMPORARY}-*"):  # half-written files of a process that was killed
                file.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(run.root, error) from error
        yield


@contextlib.contextmanager
def locked_part(run: RunFolder, name: str) -> Iterator[None]:
    """Hold one part of a run, such as a model, that the process that holds the whole has handed out.

    Raises:
        As `locked`.
    """
    with _held(run, f"-{name}"):
        yield


@contextlib.contextmanager
def _held(run: RunFolder, part: str = "") -> Iterator[None]:
    lock, holder = _acquired(run, part), run.root / _HOLDER.format(part)
    try:
        write_process(holder, os.getpid())
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _acquired(run: RunFolder, part: str) -> filelock.BaseFileLock:
    """Take the lock; files are deleted by their names in a run folder, so it must be one, or new."""
    try:
        lock_file = run.root / _LOCK
        used = run.root.is_dir() and any(run.root.iterdir())
        if used and not lock_file.exists() and not run.fingerprint.exists():
            raise RunFolderError(
                f"expected a new folder or one of an earlier run at {display(run.root)}, found other files "
                "there; choose another --out"
            )
        run.root.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(run.root / f"{_LOCK}{part}")
        lock.acquire(timeout=0)
        return lock
    except filelock.Timeout:
        raise FolderInUse(
            f"{display(run.root)} is in use by {_holder(run.root / _HOLDER.format(part))}; "
            "wait for it to end, or choose another --out"
        ) from None
    except OSError as error:
        raise storage_error(run.root, error) from error


def _holder(file: Path) -> str:
    """The process that has the lock; it writes its file a moment after it has taken the lock."""
    for _ in range(_ATTEMPTS):
        if holder := read_process(file):
            return f"process {holder.pid} on {holder.host}"
        time.sleep(0.03)
    return "another process"


@dataclass(frozen=True)
class Holder:
    """A process that works in a run folder, `local` if on this machine."""

    pid: int
    host: str
    local: bool


def read_holder(run: RunFolder) -> Holder | None:
    """Read which process holds the whole run folder, without taking its lock; None if no process does.

    Whether a process of another machine still lives is not known.
    """
    return read_process(run.root / _HOLDER.format(""))


def write_process(file: Path, pid: int) -> None:
    """Record a process of this machine so that it can be told from a later one with its number."""
    write_json(file, {"pid": pid, "host": socket.gethostname(), "started": _process_status(pid)[1]})


def read_process(file: Path) -> Holder | None:
    """Read what `write_process` wrote; None if that process has ended, or the file is damaged."""
    try:
        holder = json.loads(read_regular(file, _LONGEST_HOLDER))
        pid, host, started = int(holder["pid"]), str(holder["host"]), str(holder.get("started", ""))
        if pid <= 0:  # a signal to it would reach other processes
            return None
        local = host == socket.gethostname()
        if local and os.name == "posix":
            with contextlib.suppress(PermissionError):
                os.kill(pid, 0)  # sends nothing; ProcessLookupError if it was killed and left its file
            state, since = _process_status(pid)
            if state == "Z" or since not in ("", started):  # it has ended, or another one has its number
                return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return Holder(pid, host, local)


def _process_status(pid: int) -> tuple[str, str]:
    """Return a process's state, "Z" if it has ended, and when it started; both "" where unknown."""
    try:
        if not os.path.isdir(f"/proc/{os.getpid()}"):  # as on macOS
            return _status_of_ps(pid)
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, LookupError, subprocess.SubprocessError):
        return "", ""


def _status_of_ps(pid: int) -> tuple[str, str]:
    """Return what `_process_status` does, from the program ps."""
    command = ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)]
    environment = {"LC_ALL": "C"}  # the date in one language
    listed = subprocess.run(command, capture_output=True, text=True, timeout=5, env=environment)  # noqa: S603
    state, *start = listed.stdout.split() or ["Z"]
    return state[0], " ".join(start)
