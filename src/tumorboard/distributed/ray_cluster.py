"""Into a Ray cluster and out of it again."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from tumorboard import optional, progress
from tumorboard.errors import TumorboardError, UsageError

RETRIES = 4
"""Of a task whose worker or machine was lost."""
_LOOK_EVERY = 0.5  # seconds between looks at Ctrl-C

_PASSED_ON = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS")  # what the bits of a result depend on


def require() -> None:
    """Raise UsageError when Ray, or what writes Parquet, is not installed."""
    optional.require("--ray", "ray", "pyarrow", extra="cluster")


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Join the cluster at an address, or begin one of this machine for "local"; one that is joined is used.

    Raises:
        UsageError: No Ray, or nobody answers at the address.
    """
    require()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent anywhere
    import ray

    if ray.is_initialized():
        yield
        return
    where = {"address": address} if address != "local" else local_settings()
    # Ray's workers start in the working directory and have it first on their import path.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        try:
            with contextlib.chdir(empty):
                ray.init(**where, log_to_driver=False, logging_level="error")
        except Exception as error:  # plain ones too: a node that did not start in time
            remedy = "repeat the command" if address == "local" else "start it with: ray start --head"
            raise UsageError(
                f"expected --ray local or a running cluster, found none at {address[:60]!r} "
                f"({str(error)[:80]}); {remedy}"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def local_settings() -> dict[str, object]:
    """Ray's settings for a cluster of this machine that nobody else can reach; a test looks at its sockets.

    Left alone, Ray takes 127.0.0.1 for the address by which others reach this machine, and listens on all.
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False
    return {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}


def runtime_environment() -> dict[str, dict[str, str]]:
    """Ray's `runtime_env` of every task: the variables that results depend on, as they are here."""
    return {"env_vars": {name: os.environ[name] for name in _PASSED_ON if name in os.environ}}


def task_slots(threads: int) -> int:
    """How many tasks of so many threads the cluster can work at.

    Raises:
        UsageError: None of its machines has so many processors: they would wait for ever.
    """
    import ray

    processors = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    found = sum(count // threads for count in processors)
    if not found:
        raise UsageError(
            f"expected a machine of {threads} processors for tasks of {threads} threads, found at most "
            f"{max(processors, default=0)}; set fewer threads in the recipe, or add a machine"
        )
    return found


def wait_for_some(refs: Iterable[Any]) -> list[Any]:
    """Those that are done by now, after a short wait; raises Interrupted when the user asks to stop."""
    import ray

    progress.stop_if_asked()
    done: list[Any] = ray.wait(list(refs), timeout=_LOOK_EVERY)[0]
    return done


@contextlib.contextmanager
def original_errors() -> Iterator[None]:
    """An error of ours, raised in a worker, is raised here as it was there."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TumorboardError):
            raise error.cause from None
        raise
