"""Connecting to a Ray cluster, waiting for its tasks and translating their errors."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from tumorboard import backend, optional, progress
from tumorboard.errors import TumorboardError, UsageError

RETRIES = 4
"""Of a task whose worker or machine is lost."""
_WAIT = 0.5  # seconds until Ctrl-C is noticed


def require() -> None:
    """Raise UsageError if Ray or the Parquet writer is not installed."""
    optional.require("--ray", "ray", "pyarrow", extra="cluster")


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Join the cluster at an address, or start one on this machine for "local".

    A cluster that this process has already joined is used.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
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
    """Return the settings of a cluster that only this machine can reach; a test checks its sockets.

    By default, Ray takes 127.0.0.1 for the address by which others reach this machine, and listens on all.
    """
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False
    return {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}


def runtime_environment() -> dict[str, dict[str, str]]:
    """Return the `runtime_env` of every task: the variables that results depend on, as set here."""
    kernels = {name: os.environ[name] for name in ("TF_ENABLE_ONEDNN_OPTS",) if name in os.environ}
    return {"env_vars": {"KERAS_BACKEND": backend.name(), **kernels}}


def task_slots(threads: int) -> int:
    """Return how many tasks of that many threads the cluster can run at once.

    Raises:
        UsageError: No machine has that many processors; the tasks would wait for ever.
    """
    import ray

    processors = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    slots = sum(count // threads for count in processors)
    if not slots:
        raise UsageError(
            f"expected a machine of {threads} processors for tasks of {threads} threads, found at most "
            f"{max(processors, default=0)}; set fewer threads in the recipe, or add a machine"
        )
    return slots


def wait_for_some(refs: Iterable[Any]) -> list[Any]:
    """Return the tasks that finish within a short wait; raise Interrupted if the user asks to stop."""
    import ray

    progress.stop_if_asked()
    done: list[Any] = ray.wait(list(refs), timeout=_WAIT)[0]
    return done


@contextlib.contextmanager
def original_errors() -> Iterator[None]:
    """Raise a TumorboardError of a worker as it was there, not wrapped in one of Ray."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TumorboardError):
            raise error.cause from None
        raise
