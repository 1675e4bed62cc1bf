"""Ctrl-C and SIGTERM: the first asks for a stop at the next safe point, the second stops at once."""

import contextlib
import functools
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

from rich.console import Console as Terminal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

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


_PLAIN_EVERY = 10.0  # seconds between plain lines of one task


class Update(Protocol):
    """Report progress."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` are done; the note may be the current loss."""


class Console:
    """Where the pipeline says what it does.

    Args:
        quiet: Say nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._terminal = Terminal(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line, or several."""
        self._terminal.print(text, markup=False)

    @contextlib.contextmanager
    def task(self, title: str) -> Iterator[Update]:
        """A piece of work whose progress is shown, with the time left."""
        if self._terminal.is_terminal:
            with self._bar() as bar:
                row = bar.add_task(title, total=None, note="")
                yield functools.partial(_advance, bar, row)
        else:
            yield self._lines(title)

    def _bar(self) -> Progress:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        return Progress(*columns, console=self._terminal)

    def _lines(self, title: str) -> Update:
        begun = said = time.monotonic()

        def update(done: int, total: int, note: str = "") -> None:
            nonlocal said
            now = time.monotonic()
            if done < total and now - said < _PLAIN_EVERY:
                return
            said = now
            left = (now - begun) / done * (total - done) if done else 0.0
            self.say(f"{title}: {done}/{total}, about {left:.0f} s left {note}".rstrip())

        return update


def _advance(bar: Progress, row: TaskID, done: int, total: int, note: str = "") -> None:
    bar.update(row, completed=done, total=total, note=note)
