"""Listen, print the address, answer until asked to stop; what is being answered then is finished."""

import signal
import socket
from collections.abc import Callable

import uvicorn

from tumorboard.errors import UsageError
from tumorboard.serving import app, guard
from tumorboard.serving.house import House
from tumorboard.serving.patience import Patient

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TOKEN_LENGTH = 16
_LAST_SECONDS = 8


def check(host: str, token: str) -> None:
    """Refuse to be reachable from elsewhere without a token.

    Raises:
        UsageError: Another address than this machine's own, and no token or a short one.
    """
    if host not in LOOPBACK and not token:
        raise UsageError(
            f"--host {host} can be reached by others: give --token-file FILE with a secret in it"
        )
    if token and (len(token) < _TOKEN_LENGTH or not token.isascii() or not token.isalnum()):
        raise UsageError(f"expected a token of {_TOKEN_LENGTH} letters and digits or more, found another")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        UsageError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on {host} port {port}: {reason}; choose another --port") from error
    return listener


def serve(house: House, host: str, listener: socket.socket, token: str, ready: Callable[[str], None]) -> None:
    """Answer requests until SIGTERM or Ctrl-C.

    Args:
        house: The board and what goes with it.
        host: As given by the user.
        listener: From `listen`.
        token: The shared secret, "" for none.
        ready: Called with the page's address.
    """
    port = listener.getsockname()[1]
    guarded = guard.Guard(app.build(house), guard.rules(host, port, token))
    config = uvicorn.Config(
        guarded,
        http=Patient,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    # The server raises the signal again once it has stopped; by then there is nothing left to end.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ready(f"http://{'[' + host + ']' if ':' in host else host}:{port}/")
        uvicorn.Server(config).run([listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
