"""Open a run, listen, print the address, and reply until asked to stop; then finish what is in progress."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from tumorboard.errors import UsageError
from tumorboard.run_folder import RunFolder, read_checksums
from tumorboard.server import app, schemas, security
from tumorboard.server.heat_maps import HeatMaps

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADER_SECONDS = 15
_MIN_TOKEN_LENGTH = 16
_SHUTDOWN_SECONDS = 8


def check_access(host: str, token: str) -> None:
    """Refuse to be reachable from other machines without a token.

    Raises:
        UsageError: An address other than this machine's own, and no token or a short one.
    """
    if host not in LOOPBACK and not token:
        raise UsageError(
            f"--host {host} can be reached by others: give --token-file FILE with a secret in it"
        )
    if token and (len(token) < _MIN_TOKEN_LENGTH or not token.isascii() or not token.isalnum()):
        raise UsageError(f"expected a token of {_MIN_TOKEN_LENGTH} letters and digits or more, found another")


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes a free one.

    Raises:
        UsageError: The address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it lets another process take the address over
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on {host} port {port}: {reason}; choose another --port") from error
    return listener


def open_state(path: Path) -> app.AppState:
    """Open the models of a finished run, and predict once so that the first request does not wait.

    The first heat map waits for the process in which Keras and the network are loaded.

    Raises:
        RunFolderError: Not a finished run.
        ModelError: A model differs from the trained one, or cannot be loaded.
    """
    run = RunFolder(path)
    hashes, test_accuracies = read_checksums(run), schemas.read_test_accuracies(run)
    from tumorboard.workflows.predictor import load_run

    predictor = load_run(path)
    predictor.predict(np.zeros((predictor.image.size, predictor.image.size, 3), np.uint8))
    return_memory()  # opening took 30 MB that would stay with the process
    return app.AppState(predictor, HeatMaps(path, hashes), test_accuracies, run)


def return_memory() -> None:
    """Give the memory that nothing uses back to the system."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


class HeaderTimeout(H11Protocol):
    """Close a connection whose first request header has not arrived in time; bodies have their own limit."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEADER_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        cycle: Any = self.cycle
        if cycle is None:
            self.transport.close()


class _Server(uvicorn.Server):
    """Tell the application that it will stop, so that it ends replies that have no end of their own."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop after the requests in progress."""
        self._on_stop()
        super().handle_exit(sig, frame)


def serve(
    application: ASGIApp,
    host: str,
    listener: socket.socket,
    token: str,
    ready: Callable[[str], None],
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Reply to requests until SIGTERM or Ctrl-C.

    Args:
        application: From `app.build` or `workspace_app.build`.
        host: As given by the user.
        listener: From `listen`.
        token: The shared secret, "" for none.
        ready: Called with the page's address.
        on_stop: Called when the server begins to stop.
    """
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        security.RequestGuard(application, security.access_rules(host, port, token)),
        http=HeaderTimeout,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    # uvicorn raises the signal again once it has stopped; by then there is nothing left to end.
    handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ready(f"http://{'[' + host + ']' if ':' in host else host}:{port}/")
        _Server(config, on_stop).run([listener])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
