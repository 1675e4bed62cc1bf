"""Heat maps, computed in a process that ends when no more are asked for, see `heat_worker`."""

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tumorboard.data.pixels import Pixels
from tumorboard.data.sandbox import SandboxPool
from tumorboard.errors import ModelError

IDLE_SECONDS = 120.0
_SECONDS = 600  # for one map, Keras and the network loaded first, which a busy machine does slowly


class HeatMaps:
    """The heat maps of a run's models; threads may share it.

    Args:
        run: The run folder.
        hashes: The run's SHA256SUMS by file name, which a network must match.
        idle_seconds: How long the process waits for another request.
    """

    def __init__(self, run: Path, hashes: Mapping[str, str], idle_seconds: float = IDLE_SECONDS) -> None:
        self._run, self._hashes, self._idle_seconds = run.absolute(), dict(hashes), idle_seconds
        self._pool = SandboxPool("tumorboard.server.heat_worker", _SECONDS)
        self._timer = threading.Timer(0, self._pool.close)

    @property
    def pids(self) -> list[int]:
        """List the idle processes."""
        return self._pool.pids

    def layer(self, model: str, pixels: Pixels, target: int) -> Pixels:
        """Compute the colours to lay over an image.

        Args:
            model: Its name.
            pixels: The image, uint8 (S, S, 3).
            target: Index of the class.

        Returns:
            uint8 (S, S, 4), transparent where nothing supports the class.

        Raises:
            ModelError: A network that differs from the trained one, or cannot be loaded.
            SandboxEndedError: The process ended instead of answering.
            SandboxStartError: No process can be started.
        """
        self._timer.cancel()
        request = {"run": str(self._run), "model": model, "target": target, "shape": pixels.shape}
        try:
            header, content = self._pool.ask({**request, "hashes": self._hashes}, pixels.tobytes())
        finally:
            self._timer = threading.Timer(self._idle_seconds, self._pool.close)
            self._timer.daemon = True
            self._timer.start()
        if "error" in header:
            raise ModelError(str(header["error"]))
        return np.frombuffer(content, np.uint8).reshape(header["shape"])

    def close(self) -> None:
        """End the process, unless it is computing."""
        self._timer.cancel()
        self._pool.close()
