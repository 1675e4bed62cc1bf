"""Load a stranger's model where it can do no harm: `python -m tumorboard.models.trial MODEL.keras`.

What passed `inspecting` may still make Keras take all memory, or abort. Here that ends this process alone.
"""

import os
import subprocess
import sys
from pathlib import Path

from tumorboard.errors import ModelError, TumorboardError

try:
    import resource
except ImportError:  # Windows has no such limits; the time limit holds there too
    resource = None  # type: ignore[assignment]

MEMORY = 6 << 30
"""Bytes beyond what the process holds when Keras is imported."""
SECONDS = 120
_ENDED_WELL = 0
_REFUSED = 5


def load(path: Path) -> None:
    """Load the model in another process, and forget it.

    Raises:
        ModelError: It could not be loaded there; says why.
    """
    command = [sys.executable, "-P", "-m", "tumorboard.models.trial", str(path.absolute())]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        ran = subprocess.run(command, capture_output=True, timeout=2 * SECONDS, env=quiet, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{path} could not be loaded within {2 * SECONDS} s in a process of its own"
        ) from error
    if ran.returncode == _REFUSED:
        raise ModelError(ran.stdout.decode("utf-8", "replace"))
    if ran.returncode != _ENDED_WELL:
        raise ModelError(
            f"{str(path)[-100:]} could not be loaded in a process of limited memory and time "
            f"(it ended with {ran.returncode}); it is damaged, hostile or too large"
        )


def main(path: Path) -> int:
    """Load the model under limits; what it raises goes to standard output."""
    from tumorboard.models import storing

    _limit()
    try:
        storing.load(path)
    except TumorboardError as error:
        sys.stdout.write(str(error))
        return _REFUSED
    return _ENDED_WELL


def _limit() -> None:
    if not resource:
        return
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _has_proc() else 0
    for limit, value in ((resource.RLIMIT_AS, held + MEMORY), (resource.RLIMIT_CPU, SECONDS)):
        resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _has_proc() -> bool:
    return Path("/proc/self/statm").exists()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
