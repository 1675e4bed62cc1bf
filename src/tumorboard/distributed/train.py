"""Carry out runs as Ray tasks: a whole run per task, or one stage per task where workers would be idle."""

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from tumorboard import progress, run_folder, run_state
from tumorboard.distributed import ray_cluster
from tumorboard.progress import Console
from tumorboard.run_folder import FolderInUse, RunFolder

_PATIENCE = 60  # seconds until a lost worker's lock must be free


class Plan(Protocol):
    """A run in stages, see `workflows.run_plan.RunPlan`."""

    @property
    def out(self) -> Path:
        """The run folder."""

    @property
    def title(self) -> str:
        """What progress shows."""

    def absolute(self) -> Self:
        """Return the plan with absolute paths."""

    def begin(self, console: Console) -> None:
        """Check the data and record the plan."""

    def stages(self) -> Mapping[str, Sequence[str]]:
        """Return the stages, each with those that it waits for."""

    def run_stage(self, stage: str) -> None:
        """Carry out one stage; the last one carries out whatever is not done."""


def executor(threads: int, tasks: int, last_stage: str) -> Callable[[Sequence[Plan], Console], None]:
    """Return a function that carries out runs on the cluster that this process has joined.

    A finished model is not trained again; one whose machine was lost goes on in another process from the
    state in its folder, so the folder must be on a file system that all machines share. No more runs are
    begun than there are workers, for each keeps its cached views on the disk until it is done.

    Args:
        threads: Of each stage of a run; as many processors are reserved for it.
        tasks: How many there can be at once; no more workers are started for them.
        last_stage: The stage after which a run is finished.
    """
    for _ in range(min(tasks, ray_cluster.task_slots(threads))):
        _remote(threads, _import_keras).remote()  # takes seconds: begins while images are read here

    def execute(plans: Sequence[Plan], console: Console) -> None:
        with progress.graceful(), contextlib.ExitStack() as locks:
            _execute(list(plans), threads, last_stage, console, locks)

    return execute


def _import_keras() -> None:
    import keras  # noqa: F401


def _remote(threads: int, function: Callable[..., None]) -> Any:
    """Make a function a task; a process is used for one number of threads only."""
    import ray

    environment = ray_cluster.runtime_environment()
    environment["env_vars"]["TUMORBOARD_THREADS"] = str(threads)
    return ray.remote(function).options(
        num_cpus=threads, max_retries=ray_cluster.RETRIES, runtime_env=environment
    )


def _execute(
    plans: list[Plan], threads: int, last_stage: str, console: Console, locks: contextlib.ExitStack
) -> None:
    """Begin a run for each that ends. The first error, or Ctrl-C, ends all; folders keep what they have."""
    import ray

    waiting: dict[Any, tuple[Plan, str]] = {}
    running, most = 0, ray_cluster.task_slots(threads)
    rest = len(plans) % most  # runs of a last round that would leave workers idle: their stages are shared
    try:
        with ray_cluster.original_errors():
            while True:
                while running < most and plans:
                    whole = len(plans) > rest
                    plan = plans.pop(0).absolute()
                    when_free(functools.partial(_lock, locks, RunFolder(plan.out), console))
                    plan.begin(console)
                    console.finish(plan.title, "prepare")
                    tasks: dict[str, Any] = {}
                    for stage, needed in ({last_stage: ()} if whole else plan.stages()).items():
                        arguments = (plan, stage, list(sys.argv), *(tasks[name] for name in needed))
                        tasks[stage] = _remote(threads, _run_stage).remote(*arguments)
                    waiting |= {task: (plan, stage) for stage, task in tasks.items()}
                    running += 1
                if not waiting:
                    return
                for task in ray_cluster.wait_for_some(waiting):
                    ray.get(task)
                    plan, stage = waiting.pop(task)
                    running -= stage == last_stage
                    console.finish(plan.title, *(() if stage == last_stage else (stage,)))
    finally:
        for task in waiting:
            ray.cancel(task, force=True)


def _lock(locks: contextlib.ExitStack, run: RunFolder, console: Console) -> None:
    locks.enter_context(run_folder.locked(run))
    locks.enter_context(run_state.recorded(run, console))  # of several runs the whole is recorded already


def _run_stage(plan: Plan, stage: str, command: list[str], *_: None) -> None:
    sys.argv[:] = command  # which the run records
    when_free(lambda: plan.run_stage(stage))


def when_free(work: Callable[[], object], patience: float = _PATIENCE) -> None:
    """Do work that needs a folder; a lost process that had it may take a moment to be noticed.

    Raises:
        FolderInUse: It is still in use after so many seconds.
    """
    end = time.monotonic() + patience
    while True:
        try:
            work()
            return
        except FolderInUse:
            if time.monotonic() > end:
                raise
            progress.stop_if_asked()
            time.sleep(1)
