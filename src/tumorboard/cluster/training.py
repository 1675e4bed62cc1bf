"""The runs of a repeated study as Ray tasks; what is done in each is what one machine does, one by one."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tumorboard.cluster import connecting
from tumorboard.console import Console
from tumorboard.pipeline.repeats import Engine, Task, carry_out
from tumorboard.runfolder import FolderInUse

_PATIENCE = 60  # seconds until a lost worker's lock must be free


def engine(threads: int) -> Engine:
    """Carry out tasks on the cluster that this process has joined.

    A finished run is not begun again, one whose machine was lost goes on in another process from the state
    in its folder. So the folder must be on a file system that all machines share.

    Args:
        threads: Of each task; as many processors are reserved for it.
    """

    def carry_out_all(tasks: Sequence[Task], console: Console) -> None:
        _gather({task.out.name: _submit(task, threads) for task in tasks}, console)

    return carry_out_all


def _submit(task: Task, threads: int) -> Any:
    import ray

    absolute = Task(task.source.absolute(), task.out.absolute(), task.recipe)
    fresh = ray.remote(max_calls=1)(_work)  # a process a task: its threads are pinned when it begins
    remote = fresh.options(
        num_cpus=threads,
        max_retries=connecting.RETRIES,
        runtime_env=connecting.environment(),
        name=task.out.name,
    )
    return remote.remote(absolute, list(sys.argv))


def _work(task: Task, command: list[str]) -> None:
    sys.argv[:] = command
    when_free(lambda: carry_out(task))


def when_free(work: Callable[[], None], patience: float = _PATIENCE) -> None:
    """Work in a folder; the process that had it before may take a moment to notice that its machine is lost.

    Raises:
        FolderInUse: It is still in use after so many seconds.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return work()
        except FolderInUse:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _gather(waiting: dict[str, Any], console: Console) -> None:
    """Wait for all; the first error, or Ctrl-C, ends the others, whose folders keep what they have."""
    import ray

    names = {ref: name for name, ref in waiting.items()}
    try:
        with connecting.own_errors():
            while names:
                for ref in connecting.finished(names):
                    ray.get(ref)
                    console.say(f"{names.pop(ref)} is done")
    finally:
        for ref in names:
            ray.cancel(ref, force=True)
