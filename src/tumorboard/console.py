"""What a long job says: progress bars on a terminal, plain lines elsewhere, nothing when quiet.

All of it goes to standard error, so that standard output holds results alone.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator

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

_PLAIN_EVERY = 10.0  # seconds between plain lines of one task

Update = Callable[[int, int, str], None]
"""Told (done, total, a note such as the current loss)."""


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
