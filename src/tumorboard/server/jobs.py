"""Start, stop and resume commands for the page, one at a time; each is a process that outlives the server.

A run that waits for its turn has a file that names this server. If the server ends, the user has to continue
the queue in the next one: nothing starts by itself because a folder was opened.
"""

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
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tumorboard import config, isolation, run_folder
from tumorboard.errors import DataError, RunFolderError, TumorboardError, display
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import read_state
from tumorboard.server.choices import Choices, list_name, read_choices, require_list, write_list
from tumorboard.server.recorded_command import data_of_command
from tumorboard.server.workspace import AUDITS, COMPARISONS, FOLDERS, RUNS, Workspace, require_name, run_id
from tumorboard.storage import read_regular, write_json, write_text

RECIPES = {"default": "default", "probe": "probe", "notebook-fast": "notebook-fast", "notebook": "notebook"}
"""What the page may choose: by name, the value of --recipe."""
MAX_COMPARED = 10
"""Runs of one comparison."""
OF_THE_RUN = "that of the run"
"""The recipe in the folder of a run that was begun in a terminal."""

_PROGRAM = (sys.executable, "-P", "-m", "tumorboard")
_LOG_BYTES = 64 << 10  # of the end of a log
_JOB_BYTES = 4 << 20  # the names of all classes are in it
_RECIPE_BYTES = 1 << 20


class Job(BaseModel):
    """What the page chooses; nothing else of a command is the page's to choose."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: Literal["train", "audit", "compare"] = "train"
    runs: tuple[str, ...] = Field(
        (), max_length=MAX_COMPARED, description="to compare, relative to the workspace"
    )
    data: str = Field("", max_length=1000, description="folder or table, relative to the workspace")
    recipe: str = Field("default", max_length=60)
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="null for the recipe's")
    folds: int = Field(0, ge=0, le=10, description="of a cross-validation; 0 for none")
    keep_together: Literal["found", "given"] = "found"
    mute: tuple[str, ...] = Field((), max_length=100, description="of an audit, as of --mute")
    class_map: tuple[str, ...] = Field((), max_length=500, description="as of --class-map")
    skip_bad: bool = Field(False, description="as --skip-bad")
    excluded: str = Field("", pattern="^([0-9a-f]{12})?$", description="names the list of images left out")


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
        """Return the runs that wait here for their turn, the next one first."""
        with self._lock:
            return list(self._waiting)

    def continue_queue(self) -> list[RunFolder]:
        """Let runs wait here that waited in a server which has ended, in their order; return those that do.

        A run that cannot be started any more records why, as if its process had failed.
        """
        with self._lock:
            since = {}
            for run in self._workspace.runs().values():
                if queue_state(run) == "abandoned":
                    with contextlib.suppress(OSError):  # continued or stopped by another server meanwhile
                        since[run] = run.queued.stat().st_mtime_ns
            runs = sorted(since, key=lambda run: since[run])
            for run in runs:
                run.queued.unlink(missing_ok=True)
                try:
                    job = self._job_to_resume(run)
                    if job.kind != "audit":
                        self.resume(run)
                    elif run == self.audit_of(job.data):
                        self.begin_audit(job.data)
                    else:
                        raise RunFolderError("expected the audit of this folder's own images, found another")
                except TumorboardError as error:
                    _record_failure(run, str(error))
            return [run for run in runs if run in self._waiting]

    def begin(self, name: str, job: Job) -> RunFolder:
        """Make the folder of a new run, and start it when its turn comes.

        Raises:
            DataError: A name that is none or is taken, an unknown recipe, or data that cannot be used.
            StorageError: The folder cannot be made.
        """
        run = self.run_named(name)
        job = self._new(run, job)
        with self._lock:
            if os.path.lexists(run.root):
                raise DataError(f"expected the name of a new run, found {name!r} taken; choose another name")
            return self._enqueue(run, job)

    def begin_audit(self, data: str) -> RunFolder:
        """Audit data in a folder that is named after it; a repeated audit replaces what is there.

        Raises:
            As `begin`.
        """
        run = self.audit_of(data)
        return self._enqueue(run, self._new(run, Job(kind="audit", data=data)))

    def _new(self, run: RunFolder, job: Job) -> Job:
        """Return a job with the user's choices, once all that it names is checked; raises as `begin`."""
        job = self.with_choices(job)
        self._arguments(run, job)
        write_list(self._workspace, self.choices(job.data))
        self._require_usable(job)
        self._require_own(run)
        return job

    def run_named(self, name: str) -> RunFolder:
        """Return the folder of a run that is begun here; raises DataError for what is no name."""
        return RunFolder(self._workspace.root / RUNS / require_name(name))

    def begin_comparison(self, runs: Sequence[RunFolder]) -> RunFolder:
        """Compare finished runs at once: it takes seconds, and need not wait for a training.

        Raises:
            DataError: Fewer than two runs, or more than `MAX_COMPARED`.
        """
        if not 2 <= len(runs) <= MAX_COMPARED:
            raise DataError(f"expected 2 to {MAX_COMPARED} runs to compare, found {len(runs)}; choose others")
        names = tuple(self._workspace.relative(run.root) for run in runs)
        run, job = self.comparison_of(names), Job(kind="compare", runs=names)
        self._require_usable(job)
        self._require_own(run)
        with self._lock:
            if read_state(run).status != "running":
                with run_folder.locked(run):
                    write_json(run.job, job.model_dump())
                self._start(run)
        return run

    def comparison_of(self, runs: Sequence[str]) -> RunFolder:
        """Return the folder of the comparison of these runs."""
        words = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(name.rpartition("/")[2] for name in runs)).strip("-.")
        folder = f"{words[:40].strip('-.') or 'runs'}-{run_id(chr(0).join(runs))[:6]}"
        return RunFolder(self._workspace.root / COMPARISONS / folder)

    def choices(self, data: str) -> Choices:
        """Return what the user chose for these images."""
        return read_choices(self._workspace, self.audit_of(data))

    def with_choices(self, job: Job) -> Job:
        """Return a job with what the user chose for its images, whatever the job says of them."""
        choices = self.choices(job.data)
        of_kind = {"mute": choices.mute} if job.kind == "audit" else {"skip_bad": choices.skip_bad}
        return job.model_copy(
            update={"class_map": choices.class_map, "excluded": choices.excluded, **of_kind}
        )

    def audit_of(self, data: str) -> RunFolder:
        """Return the folder of the audit of these data."""
        words = re.sub(r"[^A-Za-z0-9]+", "-", data).strip("-")[-40:].strip("-")
        return RunFolder(self._workspace.root / AUDITS / f"{words or 'all'}-{run_id(data)[:6]}")

    def resume(self, run: RunFolder) -> None:
        """Start a stopped run again when its turn comes.

        Raises:
            RunFolderError: It is not stopped, or what was chosen in a terminal cannot be chosen here.
            DataError: What was chosen is not allowed any more.
        """
        job = self._job_to_resume(run)
        self._arguments(run, job)
        self._require_usable(job)  # as `begin`: the choices may be a stranger's
        require_no_links(run)
        with self._lock:
            if read_state(run).status != "stopped" or queue_state(run) == "waiting":
                raise RunFolderError("expected a stopped run, found one that is finished, running or waiting")
            self._enqueue(run, job)

    def stop(self, run: RunFolder) -> None:
        """Take a run out of the queue, or ask its process to stop at the next safe point.

        Raises:
            RunFolderError: It neither waits nor runs on this machine.
        """
        with self._lock:
            if queue_state(run):
                run.queued.unlink(missing_ok=True)
                self._waiting = [other for other in self._waiting if other != run]
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
            if queue_state(run) == "waiting" or read_state(run).status == "running":
                raise RunFolderError("expected a run that neither runs nor waits for its turn; stop it first")
            with run_folder.locked(run):
                shutil.rmtree(run.root)
        with contextlib.suppress(OSError):
            run.root.parent.rmdir()  # empty, it would look like a class

    def tick(self) -> None:
        """Start the next command if no run of the workspace is running, and note which have ended."""
        with self._lock:
            self._started = [process for process in self._started if process.poll() is None]
            self._waiting = [run for run in self._waiting if queue_state(run)]  # or another server stopped it
            if not self._waiting:
                return
            if any(read_state(run).status == "running" for run in self._workspace.runs().values()):
                return
            self._start(self._waiting.pop(0))

    def read(self, run: RunFolder) -> Job | None:
        """Read what was chosen for a run; None if it was not begun here."""
        try:
            return Job.model_validate_json(read_regular(run.job, _JOB_BYTES))
        except (OSError, ValidationError):
            return None

    def reason_against_resuming(self, run: RunFolder) -> str:
        """Return why a run cannot be resumed here, whether or not it is stopped; "" if it can."""
        try:
            self._arguments(run, self._job_to_resume(run))
        except TumorboardError as error:
            return str(error)
        return ""

    def _job_to_resume(self, run: RunFolder) -> Job:
        """Return what was chosen here; or in a terminal, where the recipe of the run has all settings.

        Raises:
            RunFolderError: As `data_of_command`.
        """
        job = self.read(run)
        if job:
            return job
        try:
            return Job(**data_of_command(run, self._workspace), recipe=OF_THE_RUN)
        except ValidationError:  # very long paths or lists
            raise RunFolderError(
                "expected a command that is not as long, found one that this page cannot start; resume this "
                "run in a terminal with the command below"
            ) from None

    def command(self, run: RunFolder, job: Job) -> str:
        """Return the command that does the same in a terminal.

        Raises:
            TumorboardError: Something else than the page may choose.
        """
        words = ["tumorboard", *self._arguments(run, job)]
        return f"cd {shlex.quote(str(self._workspace.root))}\n{shlex.join(words)}"

    def _arguments(self, run: RunFolder, job: Job) -> list[str]:
        if job.folds == 1:
            raise DataError("expected 2 folds or more, found 1; leave them out for one training")
        data, out, *runs = (
            f"./{path}" if path.startswith("-") else path or "."
            for path in (job.data, self._workspace.relative(run.root), *job.runs)
        )
        if job.kind == "compare":
            return [job.kind, *runs, "--out", out]
        arguments = [job.kind, data, "--out", out]
        arguments += [f"--class-map={groups}" for groups in job.class_map]
        arguments += ["--exclude", list_name(job.excluded)] if job.excluded else []
        if job.kind == "audit":
            return arguments + [f"--mute={code}" for code in job.mute]
        arguments += ["--skip-bad"] if job.skip_bad else []
        if job.recipe == OF_THE_RUN:
            _require_named_weights(run)
            arguments += ["--recipe", f"{out}/{run.recipe.name}"]
        elif job.recipe not in self.recipes:
            raise DataError(f"expected a recipe ({', '.join(self.recipes)}), found {job.recipe[:60]!r}")
        elif job.recipe != "default":
            arguments += ["--recipe", self.recipes[job.recipe]]
        arguments += ["--seed", str(job.seed)] if job.seed is not None else []
        arguments += ["--folds", str(job.folds)] if job.folds else []
        return arguments + (["--keep-together", job.keep_together] if job.keep_together != "found" else [])

    def _require_usable(self, job: Job) -> None:
        """Check that what a job reads lies inside; raises DataError or RunFolderError."""
        for name in job.runs:
            require_no_links(RunFolder(self._workspace.resolve(name)))
        if job.kind == "compare":
            return
        if job.excluded:
            require_list(self._workspace, job.excluded)
        self._workspace.describe_data(job.data, job.class_map)

    def _require_own(self, run: RunFolder) -> None:
        """Check that a folder is directly in one of `FOLDERS`, and that no link lies in it or above it."""
        if run.root.parent not in [self._workspace.root / name for name in FOLDERS]:
            raise RunFolderError(
                f"expected a folder in {', '.join(FOLDERS)} of the workspace, found another; use a terminal"
            )
        require_no_links(run)

    def _enqueue(self, run: RunFolder, job: Job) -> RunFolder:
        with self._lock:
            if job.kind == "audit" and read_state(run).status == "running":
                return run
            with run_folder.locked(run):
                write_json(run.job, job.model_dump())
                if run not in self._waiting:
                    run_folder.write_process(run.queued, os.getpid())
                    self._waiting.append(run)
        return run

    def _start(self, run: RunFolder) -> None:
        job = self.read(run)
        process = None
        try:
            if job is None:
                raise RunFolderError("expected what was chosen in state/job.json, found none; begin it again")
            arguments = self._arguments(run, job)
            if job.kind != "train":  # results of an earlier one would hide that this one failed
                for file in (run.report, run.audit, run.metrics, run.progress):
                    file.unlink(missing_ok=True)
            with run.log.open("ab") as log:
                log.write(os.fsencode(f"$ {shlex.join(['tumorboard', *arguments])}\n"))
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
        except (OSError, ValueError, TumorboardError) as error:  # ValueError: a NUL in what was chosen
            if process:  # without a record it would run beside the next one
                process.terminate()
            _record_failure(run, f"cannot start a process: {getattr(error, 'strerror', None) or error}")
        finally:
            with contextlib.suppress(OSError):
                run.queued.unlink(missing_ok=True)


def queue_state(run: RunFolder) -> Literal["", "waiting", "abandoned"]:
    """Return whether a run waits for its turn: not, in a server, or in one that has ended.

    A server of another machine counts as ended: whether it works cannot be seen, and the name of a machine
    may change. Only the user continues a queue.
    """
    if not run.queued.is_file() or read_state(run).status == "running":
        return ""
    server = run_folder.read_process(run.queued)
    return "waiting" if server and server.local else "abandoned"


def _record_failure(run: RunFolder, reason: str) -> None:
    with contextlib.suppress(Exception):
        write_text(run.log, f"tumorboard: {reason}\n")


def _require_named_weights(run: RunFolder) -> None:
    """Check that the recipe of a run, which may be a stranger's, names no file.

    Raises:
        RunFolderError: It does, or it cannot be read.
        RecipeError: It is none.
    """
    try:
        text = read_regular(run.recipe, _RECIPE_BYTES).decode("utf-8")
    except (OSError, ValueError):
        raise RunFolderError(
            f"expected a recipe.toml of at most {_RECIPE_BYTES >> 20} MB in this run, found none; train again"
        ) from None
    for model in config.parse(text, run.recipe.name).models.values():
        if model.kind == "pretrained" and model.weights not in ("imagenet", "none"):
            raise RunFolderError(
                "expected the weights imagenet or none, found a file of weights in the recipe, which is not "
                "opened here; resume this run in a terminal with the command below"
            )


def require_no_links(run: RunFolder) -> None:
    """Check that a run folder holds no link, nor is one: through it, files elsewhere would be written.

    Raises:
        RunFolderError: It does.
    """
    if os.path.realpath(run.root) != str(run.root):
        raise RunFolderError("expected a run folder that is not reached by a link, found one; use a terminal")
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
