"""Into a Ray cluster and out of it again."""

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from tumorboard.errors import UsageError

_PASSED_ON = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS")  # what the bits of a result depend on


def require() -> None:
    """Raise UsageError when Ray is not installed."""
    if find_spec("ray") is None:
        raise UsageError('--ray needs packages that are not installed: pip install "tumorboard[cluster]"')


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
    where = {"address": address} if address != "local" else _here()
    try:
        ray.init(**where, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"expected --ray local or a running cluster, found none at {address[:60]!r} "
            f"({str(error)[:80]}); start it with: ray start --head"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _here() -> dict[str, object]:
    """A cluster of this machine that nobody else can reach."""
    return {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}


def environment() -> dict[str, dict[str, str]]:
    """Ray's `runtime_env` of every task: the variables that results depend on, as they are here."""
    return {"env_vars": {name: os.environ[name] for name in _PASSED_ON if name in os.environ}}


def command() -> list[str]:
    """What the user typed; a worker records it as its own, not the worker's."""
    return list(sys.argv)
