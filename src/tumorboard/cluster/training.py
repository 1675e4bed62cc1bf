"""Runs as Ray tasks, one a model; what is done in each is what one process does, one after the other."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tumorboard.cluster import connecting
from tumorboard.console import Console
from tumorboard.locking import FolderInUse
from tumorboard.pipeline import tasks
from tumorboard.pipeline.repeats import Engine
from tumorboard.pipeline.tasks import Task

_PATIENCE = 60  # seconds until a lost worker's lock must be free
_REST = ""  # the last piece of a run, among the names of its models


def engine(threads: int) -> Engine:
    """Carry out runs on the cluster that this process has joined.

    A finished model is not made again, one whose machine was lost goes on in another process from the state
    in its folder. So the folder must be on a file system that all machines share. No more runs are begun
    than can be worked at, for each has its views on the disk until it is done.

    Args:
        threads: Of each piece of a run; as many processors are reserved for it.
    """

    def carry_out_all(all_tasks: Sequence[Task], console: Console) -> None:
        runs = iter(all_tasks)
        pieces: dict[Any, tuple[str, str]] = {}
        for task in itertools.islice(runs, connecting.slots(threads)):
            pieces |= _begin(task, threads)
        _gather(pieces, runs, threads, console)

    return carry_out_all


def _begin(task: Task, threads: int) -> dict[Any, tuple[str, str]]:
    """Submit a run: by Ray's reference, its name and the model. A piece waits for those that it needs."""
    import ray

    there = replace(
        task, source=task.source.absolute(), out=task.out.absolute(), images=task.images.absolute()
    )
    when_free(lambda: tasks.begin(there))
    environment = connecting.environment()
    environment["env_vars"]["TUMORBOARD_THREADS"] = str(threads)  # pinned once in a process
    remote = ray.remote(_work).options(
        num_cpus=threads, max_retries=connecting.RETRIES, runtime_env=environment
    )
    made: dict[str, Any] = {}
    for name in task.recipe.names:
        needed = [made[one] for one in task.recipe.made_of(name)]
        made[name] = remote.remote(there, name, list(sys.argv), *needed)
    made[_REST] = remote.remote(there, _REST, list(sys.argv), *made.values())
    return {ref: (task.out.name, name) for name, ref in made.items()}


def _work(task: Task, name: str, command: list[str], *_: None) -> None:
    sys.argv[:] = command
    when_free(lambda: tasks.make(task, name) if name != _REST else tasks.carry_out(task))


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


def _gather(pieces: dict[Any, tuple[str, str]], runs: Iterator[Task], threads: int, console: Console) -> None:
    """Wait for all, a new run for each that is done; the first error, or Ctrl-C, ends the others.

    Their folders keep what they have.
    """
    import ray

    try:
        with connecting.own_errors():
            while pieces:
                for ref in connecting.finished(pieces):
                    ray.get(ref)
                    run, name = pieces.pop(ref)
                    console.say(f"{run}: {name} is made" if name else f"{run} is done")
                    if name == _REST and (task := next(runs, None)):
                        pieces |= _begin(task, threads)
    finally:
        for ref in pieces:
            ray.cancel(ref, force=True)
