"""Ctrl-C and SIGTERM: the first asks for a stop at the next safe point, the second stops at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from tumorboard.errors import Interrupted

_asked: list[int] = []


@contextlib.contextmanager
def graceful() -> Iterator[None]:
    """Within this block the first signal is only noted; `stop_if_asked` acts on it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is _note:
        yield  # Python allows signal handlers in the main thread only; and a block within one changes nothing
        return
    _asked.clear()
    before = {number: signal.signal(number, _note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _note(number: int, _frame: FrameType | None) -> None:
    if _asked:
        raise _interrupted(number)
    _asked.append(number)


def stop_if_asked() -> None:
    """A safe point: nothing that was finished is lost by stopping here.

    Raises:
        Interrupted: A signal came since `graceful` began.
    """
    if _asked:
        raise _interrupted(_asked[0])


def _interrupted(number: int) -> Interrupted:
    name = signal.Signals(number).name
    return Interrupted(f"stopped by {name}; repeat the same command to resume where it stopped", number)
