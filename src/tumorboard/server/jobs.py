"""Start, stop and resume commands for the page, one at a time; each is a process that outlives the server."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tumorboard import isolation, run_folder
from tumorboard.errors import DataError, RunFolderError, StorageError, display
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import read_state
from tumorboard.server.workspace import AUDITS, RUNS, Workspace, require_name, run_id
from tumorboard.storage import read_regular, write_json, write_text

RECIPES = {"default": "default", "notebook-fast": "notebook-fast", "notebook": "notebook"}
"""What the page may choose: by name, the value of --recipe."""

_PROGRAM = (sys.executable, "-P", "-m", "tumorboard")
_LOG_BYTES = 64 << 10  # of the end of a log


class Job(BaseModel):
    """What the page chooses; nothing else of a command is the page's to choose."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: Literal["train", "audit"] = "train"
    data: str = Field("", max_length=1000, description="folder or table, relative to the workspace")
    recipe: str = Field("default", max_length=60)
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="null for the recipe's")
    folds: int = Field(0, ge=0, le=10, description="of a cross-validation; 0 for none")
    keep_together: Literal["found", "given"] = "found"


class Jobs:
    """The queue of commands; threads may share it.

    Args:
        workspace: Where data and runs are.
        program: How the command line is started.
        recipes: What the page may choose: by name, the value of --recipe.
    """

    def __init__(
        self,
        workspace: Workspace,
        program: Sequence[str] = _PROGRAM,
        recipes: Mapping[str, str] = RECIPES,
    ) -> None:
        self._workspace, self._program, self.recipes = workspace, program, recipes
        self._waiting: list[RunFolder] = []
        self._started: list[subprocess.Popen[bytes]] = []
        self._lock = threading.RLock()  # over a check and what it allows

    def waiting(self) -> list[RunFolder]:
        """Return the runs that wait for their turn, the next one first."""
        with self._lock:
            return list(self._waiting)

    def begin(self, name: str, job: Job) -> RunFolder:
        """Make the folder of a new run, and start it when its turn comes.

        Raises:
            DataError: A name that is none or is taken, an unknown recipe, or data that cannot be used.
            StorageError: The folder cannot be made.
        """
        run = RunFolder(self._workspace.root / RUNS / require_name(name))
        self._arguments(run, job)
        self._workspace.describe_data(job.data)
        self._require_own(run)
        with self._lock:
            if os.path.lexists(run.root):
                raise DataError(f"expected the name of a new run, found {name!r} taken; choose another name")
            return self._enqueue(run, job)

    def begin_audit(self, data: str) -> RunFolder:
        """Audit data in a folder that is named after it; a repeated audit replaces what is there.

        Raises:
            As `begin`.
        """
        run, job = self.audit_of(data), Job(kind="audit", data=data)
        self._workspace.describe_data(data)
        self._require_own(run)
        return self._enqueue(run, job)

    def audit_of(self, data: str) -> RunFolder:
        """Return the folder of the audit of these data."""
        words = re.sub(r"[^A-Za-z0-9]+", "-", data).strip("-")[-40:].strip("-")
        return RunFolder(self._workspace.root / AUDITS / f"{words or 'all'}-{run_id(data)[:6]}")

    def resume(self, run: RunFolder) -> None:
        """Start a stopped run again when its turn comes.

        Raises:
            RunFolderError: The page has not begun it, or it is not stopped.
            DataError: What was chosen is not allowed any more.
        """
        job = self.read(run)
        if job is None:
            raise RunFolderError("expected a run that was begun here; resume this one in a terminal")
        self._arguments(run, job)
        self._workspace.describe_data(job.data)  # as `begin`: the choices may be a stranger's
        self._require_own(run)
        with self._lock:
            if read_state(run).status != "stopped" or run in self._waiting:
                raise RunFolderError("expected a stopped run, found one that is finished, running or waiting")
            self._enqueue(run, job)

    def stop(self, run: RunFolder) -> None:
        """Take a run out of the queue, or ask its process to stop at the next safe point.

        Raises:
            RunFolderError: It neither waits nor runs on this machine.
        """
        with self._lock:
            if run in self._waiting:
                self._waiting.remove(run)
                return
        holder = read_state(run).holder
        if holder is None or not holder.local:
            raise RunFolderError("expected a run that a process of this machine works on, found none")
        try:
            os.kill(holder.pid, signal.SIGINT)
        except ProcessLookupError:  # it has just ended
            return
        except PermissionError as error:
            raise RunFolderError(
                f"expected a process of this user, found process {holder.pid} of another; ask "
                "its owner to stop it"
            ) from error

    def delete(self, run: RunFolder, name: str) -> None:
        """Delete the folder of a run that was named.

        Raises:
            DataError: Another name was typed.
            RunFolderError: The run is running or waiting, or lies outside `runs` and `audits`.
        """
        if name != run.root.name:
            raise DataError(f"expected the name {display(run.root.name, 60)!r}, found another; type it again")
        self._require_own(run)
        with self._lock:
            if run in self._waiting or read_state(run).status == "running":
                raise RunFolderError("expected a run that neither runs nor waits for its turn; stop it first")
            with run_folder.locked(run):
                shutil.rmtree(run.root)
        with contextlib.suppress(OSError):
            run.root.parent.rmdir()  # empty, it would look like a class

    def tick(self) -> None:
        """Start the next command if no run of the workspace is running, and note which have ended."""
        with self._lock:
            self._started = [process for process in self._started if process.poll() is None]
            if not self._waiting:
                return
            if any(read_state(run).status == "running" for run in self._workspace.runs().values()):
                return
            self._start(self._waiting.pop(0))

    def read(self, run: RunFolder) -> Job | None:
        """Read what was chosen for a run; None if it was not begun here."""
        try:
            return Job.model_validate_json(read_regular(run.job, _LOG_BYTES))
        except (OSError, ValidationError):
            return None

    def command(self, name: str, job: Job) -> str:
        """Return the command that does the same in a terminal.

        Raises:
            DataError: As `begin`, for the name and the recipe.
        """
        run = self.audit_of(job.data) if job.kind == "audit" else RunFolder(Path(RUNS, require_name(name)))
        arguments = self._arguments(run, job)
        return f"cd {shlex.quote(str(self._workspace.root))}\n{shlex.join(['tumorboard', *arguments])}"

    def _arguments(self, run: RunFolder, job: Job) -> list[str]:
        if job.folds == 1:
            raise DataError("expected 2 folds or more, found 1; leave them out for one training")
        if job.recipe not in self.recipes:
            raise DataError(f"expected a recipe ({', '.join(self.recipes)}), found {job.recipe[:60]!r}")
        data = f"./{job.data}" if job.data.startswith("-") else job.data or "."
        parent = AUDITS if job.kind == "audit" else RUNS
        arguments = [job.kind, data, "--out", f"{parent}/{run.root.name}"]
        if job.kind == "audit":
            return arguments
        arguments += ["--recipe", self.recipes[job.recipe]] if job.recipe != "default" else []
        arguments += ["--seed", str(job.seed)] if job.seed is not None else []
        arguments += ["--folds", str(job.folds)] if job.folds else []
        return arguments + (["--keep-together", job.keep_together] if job.keep_together != "found" else [])

    def _require_own(self, run: RunFolder) -> None:
        """Check that a folder is directly in `runs` or `audits`, and that no link lies in it or above it."""
        parents = [self._workspace.root / name for name in (RUNS, AUDITS)]
        if run.root.parent not in parents or run.root.is_symlink() or run.root.parent.is_symlink():
            raise RunFolderError(
                f"expected a folder in {RUNS}/ or {AUDITS}/ of the workspace, found another; use a terminal"
            )
        require_no_links(run)

    def _enqueue(self, run: RunFolder, job: Job) -> RunFolder:
        with self._lock:
            if job.kind == "audit" and read_state(run).status == "running":
                return run
            with run_folder.locked(run):
                write_json(run.job, job.model_dump())
            if run not in self._waiting:
                self._waiting.append(run)
        return run

    def _start(self, run: RunFolder) -> None:
        job = self.read(run)
        if job is None:  # deleted meanwhile
            return
        arguments, process = self._arguments(run, job), None
        try:
            if job.kind == "audit":  # results of an earlier one would hide that this one failed
                for file in (run.report, run.audit, run.progress):
                    file.unlink(missing_ok=True)
            with run.log.open("ab") as log:
                log.write(f"$ {shlex.join(['tumorboard', *arguments])}\n".encode())
                log.flush()
                # Its own session: neither Ctrl-C nor the end of the server is its end.
                process = subprocess.Popen(  # noqa: S603
                    [*self._program, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=isolation.child_environment(),
                    cwd=self._workspace.root,
                    start_new_session=True,
                )
            self._started.append(process)
            run_folder.write_process(run.job_process, process.pid)
        except (OSError, StorageError) as error:
            if process:  # without a record it would run beside the next one
                process.terminate()
            reason = getattr(error, "strerror", None) or str(error)
            with contextlib.suppress(Exception):
                write_text(run.log, f"tumorboard: cannot start a process: {reason}\n")


def require_no_links(run: RunFolder) -> None:
    """Check that a run folder holds no link: through a stranger's, files elsewhere would be written.

    Raises:
        RunFolderError: It does.
    """
    for folder, below, files in os.walk(run.root):
        for name in (*below, *files):
            if os.path.islink(os.path.join(folder, name)):
                raise RunFolderError(
                    f"expected a run folder without links, found the link {display(name, 60)!r}; use a "
                    "terminal"
                )


def read_log(run: RunFolder) -> str:
    """Return the end of what the processes of a run printed."""
    try:
        return read_regular(run.log, _LOG_BYTES, end=True).decode("utf-8", "replace")
    except OSError:
        return ""


def error_of(run: RunFolder) -> str:
    """Return the line with which a stopped run ended; "" if it was killed, or never started."""
    lines = [line for line in read_log(run).splitlines() if line.startswith(("tumorboard: ", "$ "))]
    with contextlib.suppress(OSError):
        if lines and (not run.progress.exists() or run.log.stat().st_mtime >= run.progress.stat().st_mtime):
            return lines[-1].removeprefix("tumorboard: ") if lines[-1][0] != "$" else ""
    return read_state(run).error
