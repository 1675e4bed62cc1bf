"""Progress on standard error, and how Ctrl-C and SIGTERM end it.

The first signal asks for a stop at the next safe point, the second stops at once.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

import rich.console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tumorboard.errors import Interrupted

_asked: list[int] = []


@contextlib.contextmanager
def graceful() -> Iterator[None]:
    """Note the first signal within this block, for `stop_if_asked` to act on."""
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
    """Stop here if a signal asked to: a safe point, where nothing that was finished is lost.

    Raises:
        Interrupted: A signal came since `graceful` began.
    """
    if _asked:
        raise _interrupted(_asked[0])


def _interrupted(number: int) -> Interrupted:
    name = signal.Signals(number).name
    return Interrupted(f"stopped by {name}; repeat the same command to resume where it stopped", number)


_SECONDS_BETWEEN_LINES = 30.0  # of one task, where there is no terminal


class Update(Protocol):
    """Report progress."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` are done; the note may be the current loss."""


class Terminal(rich.console.Console):
    """Where lines and bars go."""

    def on_broken_pipe(self) -> None:
        """Show nothing more, as nobody reads it; by default rich would end the program."""
        self.quiet = True


class Console:
    """Show progress and warnings on standard error; where it cannot be written, the work goes on without.

    Args:
        quiet: Show no progress.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._terminal = Terminal(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._warnings = Terminal(stderr=True, highlight=False, soft_wrap=True) if quiet else self._terminal

    def print(self, text: str) -> None:
        """Print one line, or several."""
        with contextlib.suppress(OSError):  # a full disk
            self._terminal.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Print one line that the user must see, also where no progress is shown."""
        with contextlib.suppress(OSError):
            self._warnings.print(text, markup=False)

    @contextlib.contextmanager
    def task(self, title: str) -> Iterator[Update]:
        """Show the progress of a piece of work, with the time left."""
        begun = shown = time.monotonic()

        def print_line(done: int, total: int, note: str = "") -> None:
            nonlocal shown
            now = time.monotonic()
            if done < total and now - shown < _SECONDS_BETWEEN_LINES:
                return
            shown = now
            left = (now - begun) / done * (total - done) if done else 0.0
            self.print(f"{title}: {done}/{total}, about {left:.0f} s left {note}".rstrip())

        if not self._terminal.is_terminal:
            yield print_line
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._terminal) as bar:
            row = bar.add_task(title, total=None, note="")

            def move_bar(done: int, total: int, note: str = "") -> None:
                bar.update(row, completed=done, total=total, note=note)

            yield move_bar
