"""Runs in pieces as Ray tasks; what is done in each is what one process does, one after the other."""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tumorboard import progress, run_folder
from tumorboard.distributed import ray_cluster
from tumorboard.progress import Console
from tumorboard.run_folder import FolderInUse, RunFolder
from tumorboard.workflows import run_plan
from tumorboard.workflows.cross_validation import Engine
from tumorboard.workflows.run_plan import RESULTS, Plan

_PATIENCE = 60  # seconds until a lost worker's lock must be free


def engine(threads: int, tasks: int) -> Engine:
    """Carry out runs on the cluster that this process has joined.

    A finished model is not made again, one whose machine was lost goes on in another process from the state
    in its folder. So the folder must be on a file system that all machines share. No more runs are begun
    than can be worked at, for each has its views on the disk until it is done.

    Args:
        threads: Of each piece of a run; as many processors are reserved for it.
        tasks: How many there can be at once; no more workers are started for them.
    """
    _warm_up(threads, tasks)

    def carry_out_all(plans: Sequence[Plan], console: Console) -> None:
        with progress.graceful(), contextlib.ExitStack() as held:
            _carry_out(list(plans), threads, console, held)

    return carry_out_all


def _warm_up(threads: int, tasks: int) -> None:
    """Let workers start and import Keras while images are read here: both take seconds."""
    for _ in range(min(tasks, ray_cluster.task_slots(threads))):
        _remote(threads, _import).remote()


def _import() -> None:
    from tumorboard.workflows import build_models  # noqa: F401


def _remote(threads: int, work: Callable[..., None]) -> Any:
    """A function as a task; a process is used for one number of threads only."""
    import ray

    environment = ray_cluster.runtime_environment()
    environment["env_vars"]["TUMORBOARD_THREADS"] = str(threads)
    return ray.remote(work).options(
        num_cpus=threads, max_retries=ray_cluster.RETRIES, runtime_env=environment
    )


def _carry_out(plans: list[Plan], threads: int, console: Console, held: contextlib.ExitStack) -> None:
    """Begin a run for each that ends. The first error, or Ctrl-C, ends all; folders keep what they have."""
    import ray

    waiting: dict[Any, tuple[Plan, str]] = {}
    running, most = 0, ray_cluster.task_slots(threads)
    rest = len(plans) % most  # runs of a last round that would leave workers idle
    try:
        with ray_cluster.original_errors():
            while True:
                while running < most and plans:
                    in_pieces = len(plans) <= rest
                    waiting |= _begun(plans.pop(0), threads, console, held, in_pieces=in_pieces)
                    running += 1
                if not waiting:
                    return
                for ref in ray_cluster.wait_for_some(waiting):
                    ray.get(ref)
                    plan, piece = waiting.pop(ref)
                    running -= piece == RESULTS
                    console.print(f"{plan.out.name}: {piece} done")
    finally:
        for ref in waiting:
            ray.cancel(ref, force=True)


def _begun(
    plan: Plan, threads: int, console: Console, held: contextlib.ExitStack, *, in_pieces: bool
) -> dict[Any, tuple[Plan, str]]:
    """Take the run folder and submit the run, whole or in pieces that wait for those that they need."""
    data = replace(plan.data, path=plan.data.path.absolute())
    there = replace(plan, data=data, out=plan.out.absolute(), images=plan.images.absolute())
    when_free(lambda: held.enter_context(run_folder.locked(RunFolder(there.out))))
    run_plan.begin(there, console)
    remote = _remote(threads, _work)
    made: dict[str, Any] = {}
    for piece, needed in (run_plan.needs(plan.recipe) if in_pieces else {RESULTS: ()}).items():
        made[piece] = remote.remote(there, piece, list(sys.argv), *(made[one] for one in needed))
    return {ref: (plan, piece) for piece, ref in made.items()}


def _work(plan: Plan, piece: str, command: list[str], *_: None) -> None:
    sys.argv[:] = command
    when_free(lambda: run_plan.do(plan, piece))


def when_free(work: Callable[[], object], patience: float = _PATIENCE) -> None:
    """Work in a folder; the process that had it before may take a moment to notice that its machine is lost.

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
