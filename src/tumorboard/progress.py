"""Progress of a whole command on standard error, and how Ctrl-C and SIGTERM end it.

The first signal asks for a stop at the next safe point, the second stops at once.
"""

import contextlib
import signal
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Protocol

import rich.console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from tumorboard.errors import Interrupted, for_terminal

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


Plan = Mapping[str, "float | Plan"]
"""By title, in order, how long each step of some work is expected to take, or its own steps.

Only the ratios matter.
"""

_LEAST_SHARE = 0.02  # of what there is to do in this process; before it is done, no time left is shown
_SAMPLES, _SAMPLE_SECONDS = 30, 2.0  # the speed of a task is that of its last samples
_PAUSE, _LONGEST_PAUSE = 30.0, 300.0  # seconds between printed lines; of long work a twentieth of its time
_ROWS = 12  # steps that a terminal shows
_BAR = 12  # characters


class Update(Protocol):
    """Report progress."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` are done; the note may be the current loss."""


@dataclass(eq=False)
class Step:
    """A phase or a task of some work.

    Attributes:
        title: What is shown.
        weight: Its expected duration.
        steps: Its own steps by title.
        done: How much of the weight is done.
        ended: Whether nothing is left to do.
        seconds: How long it took; 0 if it was not carried out here.
    """

    title: str
    weight: float
    steps: dict[str, "Step"] = field(default_factory=dict)
    done: float = 0.0
    ended: bool = False
    seconds: float = 0.0

    def divide(self, plan: Plan) -> None:
        """Take over the steps of a plan, unless it has steps; they share its weight."""
        if not self.steps:
            total = sum(step.weight for step in _steps(plan).values())
            self.steps = _steps(plan, self.weight / total)

    @property
    def unfinished(self) -> Iterator[str]:
        """The titles of this step and of those within it that have not ended."""
        if not self.ended:
            yield self.title
            for step in list(self.steps.values()):
                yield from step.unfinished


def _steps(plan: Plan, scale: float = 1.0) -> dict[str, Step]:
    steps = {}
    for title, part in plan.items():
        own = _steps(part, scale) if isinstance(part, Mapping) else {}
        weight = part * scale if isinstance(part, float | int) else sum(step.weight for step in own.values())
        steps[title] = Step(title, weight, own)
    return steps


class Work:
    """How much of some work is done and how long the rest takes.

    A step's share of the work is that of its expected duration. What is left is expected to take as long per
    share as what was done in this process; for the task in hand, as long per item as its last items took.

    Args:
        plan: The steps.
        earlier: Seconds that were spent on it before.
        may_end_early: Titles of steps that may end before all of their items are done.
    """

    def __init__(self, plan: Plan, earlier: float = 0.0, may_end_early: Iterable[str] = ()) -> None:
        self.root = Step("", 1.0)
        self.root.divide(plan)
        self.path = [self.root]
        self.may_end_early = frozenset(may_end_early)
        self._earlier, self._begun = earlier, time.monotonic()
        self._measured = 0.0  # share that was done in this process
        self._start = 0  # items of the task in hand that were done before
        # Of it: when so many were done. What precedes the first item, such as compiling, is done once.
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._estimate: tuple[float, float] | None = None  # seconds left, and when this was estimated

    def enter(self, title: str, start: int = 0) -> Step:
        """Begin a step of the one in hand. One that is not planned has no share."""
        step = self.path[-1].steps.setdefault(title, Step(title, 0.0))
        self.path.append(step)
        self._start = start
        self._samples.clear()
        return step

    def leave(self, ended: bool, measured: bool) -> None:
        """Go back to the step above; with `ended`, whatever was left of this one need not be done."""
        step = self.path[-1]
        if ended:
            self._advance(self.path, step.weight, measured)
            step.ended = True
        self.path.pop()
        self._samples.clear()
        self._estimate_left()

    def update(self, done: int, total: int) -> None:
        """Count the items of the task in hand."""
        now, weight = time.monotonic(), self.path[-1].weight
        before, share = (min(count / total, 1.0) if total else 1.0 for count in (self._start, done))
        self._advance(self.path, weight * before, measured=False)
        self._advance(self.path, weight * share, measured=True)
        self._estimate_left(done, max(total - done, 0))
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, done))

    def finish(self, titles: Sequence[str], measured: bool) -> None:
        """Count a step as done that another process has carried out; `measured` if since this work began."""
        path = [self.root]
        for title in titles:
            path.append(path[-1].steps.setdefault(title, Step(title, 0.0)))
        self._advance(path, path[-1].weight, measured)
        path[-1].ended = True
        self._estimate_left()

    def _advance(self, path: Sequence[Step], done: float, measured: bool) -> None:
        """Let so much of the last step be done; what was done stays done."""
        more = max(done - path[-1].done, 0.0)
        for step in path:
            step.done += more
        self._measured += more if measured else 0.0

    def _estimate_left(self, done: int = 0, rest: int = 0) -> None:
        now, left = time.monotonic(), max(self.root.weight - self.root.done, 0.0)
        self._estimate = None
        if self._measured and self._measured >= _LEAST_SHARE * (self._measured + left):
            pace = (now - self._begun) / self._measured
            seconds = left * pace
            if self._samples and done > self._samples[0][1]:
                task, (since, before) = self.path[-1], self._samples[0]
                seconds += rest * (now - since) / (done - before) - (task.weight - task.done) * pace
            self._estimate = max(seconds, 0.0), now

    @property
    def percent(self) -> int:
        """What is done of everything, from 0 to 100."""
        return min(int(100 * self.root.done + 1e-6), 100)

    @property
    def elapsed(self) -> float:
        """Seconds spent so far, those of earlier processes included."""
        return self._earlier + time.monotonic() - self._begun

    @property
    def times(self) -> str:
        """The time spent, and how much is left, "at most" if steps may end early."""
        text, left = f"{_clock(self.elapsed)} elapsed", self.left
        return text if left is None else f"{text}, about {_clock(left)} left{' at most' * self.ends_early}"

    @property
    def left(self) -> float | None:
        """The seconds that the rest is expected to take; None if that is unknown, or nothing is left."""
        if self._estimate is None or self.percent == 100:
            return None
        seconds, when = self._estimate
        return max(seconds - (time.monotonic() - when), 0.0)

    @property
    def ends_early(self) -> bool:
        """Whether the rest may take less time, because steps of it may end early."""
        return not self.may_end_early.isdisjoint(self.root.unfinished)

    @property
    def rows(self) -> list[Step]:
        """The steps to show: those of the whole, or of its only step."""
        return [step for step in list(self._top.steps.values()) if step.weight]

    @property
    def _top(self) -> Step:
        only = list(self.root.steps.values())
        return only[0] if len(only) == 1 and only[0].steps else self.root

    def place(self, above: Step | None = None) -> str:
        """Name the steps in hand within a row; by default from the row downwards."""
        above = above or (self._top if self._top in self.path else self.root)
        below = [step.title for step in self.path[self.path.index(above) + 1 :]]
        # A task that begins with the name of its phase needs no other.
        pairs = zip(below, [*below[1:], ""], strict=False)
        return ", ".join(title for title, task in pairs if not task.startswith(f"{title}:"))


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class Terminal(rich.console.Console):
    """Where lines and bars go."""

    def on_broken_pipe(self) -> None:
        """Show nothing more, as nobody reads it; by default rich would end the program."""
        self.quiet = True


class Console:
    """Show progress and warnings on standard error; where it cannot be written, the work goes on without.

    A terminal shows all steps of the work and redraws them. Elsewhere a line is printed when a step has
    ended, and now and then between.

    Args:
        quiet: Show no progress.

    Attributes:
        observer: Called after every change of the work, with it and the counts of the task in hand.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.observer: Callable[[Work, str], None] | None = None
        self._terminal = Terminal(stderr=True, quiet=quiet, highlight=False)
        self._warnings = Terminal(stderr=True, highlight=False) if quiet else self._terminal
        self._work: Work | None = None
        self._counts = ""  # of the task in hand
        self._shares = ""  # of all steps, which are printed before the first line
        self._printed = 0.0  # when the last line was

    def print(self, text: str) -> None:
        """Print one line, or several."""
        with contextlib.suppress(OSError):  # a full disk
            self._terminal.print(for_terminal(text), markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print one line that the user must see, also where no progress is shown."""
        with contextlib.suppress(OSError):
            self._warnings.print(for_terminal(text), markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def overall(self, plan: Plan, earlier: float = 0.0, may_end_early: Iterable[str] = ()) -> Iterator[None]:
        """Show the progress of some work; within other work, the plan is that of the step in hand.

        Args:
            plan: The steps.
            earlier: Seconds that were spent on it before.
            may_end_early: Titles of steps that may end before all of their items are done.
        """
        if self._work:
            self._work.path[-1].divide(plan)
            yield
            return
        self._work, self._printed = Work(plan, earlier, may_end_early), time.monotonic()
        shares = ", ".join(f"{row.title} {100 * row.weight:.0f}%" for row in self._work.rows)
        self._shares = textwrap.fill(f"expected shares: {shares}", 80) if "," in shares else ""
        try:
            live = self._terminal.is_interactive and not self._terminal.quiet
            with self._live() if live else contextlib.nullcontext():
                yield
                self._work.finish((), measured=False)
        finally:
            self._work = None

    @contextlib.contextmanager
    def _live(self) -> Iterator[None]:
        live = Live(console=self._terminal, get_renderable=self._table, redirect_stdout=False)
        with contextlib.suppress(OSError):  # the terminal was closed
            live.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                live.stop()

    @contextlib.contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Carry out a step of the work, which is done at the end of the block, unless an error ends it."""
        with self._step(title, task=False):
            yield

    @contextlib.contextmanager
    def task(self, title: str, start: int = 0) -> Iterator[Update]:
        """Carry out a step, or work of its own, whose items are counted.

        Args:
            title: What is shown.
            start: How many items were done by an earlier process.
        """

        def update(done: int, total: int, note: str = "") -> None:
            if self._work:
                total = max(done, total)  # files may have come since they were counted
                self._work.update(done, total)
                self._counts = f" {done}/{total}" + (f", {note}" if note else "")
                self._notify()
                if time.monotonic() - self._printed >= min(
                    max(_PAUSE, self._work.elapsed / 20), _LONGEST_PAUSE
                ):
                    self._print_line(self._work.place() + self._counts)

        with contextlib.ExitStack() as stack:
            if self._work is None:
                stack.enter_context(self.overall({title: 1.0}))
            stack.enter_context(self._step(title, task=True, start=start))
            yield update

    @contextlib.contextmanager
    def _step(self, title: str, task: bool, start: int = 0) -> Iterator[None]:
        if self._work is None:
            yield
            return
        step, begun, self._counts = self._work.enter(title, start), time.monotonic(), ""
        ended = False
        self._notify()
        try:
            yield
            ended = True
        finally:
            step.seconds = time.monotonic() - begun
            # Tasks that were done earlier do not tell how fast this process is.
            self._work.leave(ended, not task and not any(part.weight for part in step.steps.values()))
            if ended and step in self._work.rows:
                self._print_line(title + (self._counts if task else " done"))
            self._counts = ""
            self._notify()

    def finish(self, *titles: str, measured: bool = True) -> None:
        """Count a step as done that another process has carried out.

        Args:
            *titles: The step, after those that it is in.
            measured: Whether since this work began, so that it tells how fast the work is done.
        """
        if self._work:
            self._work.finish(titles, measured)
            self._notify()
            if measured:
                self._print_line(f"{', '.join(titles)} done")

    def _notify(self) -> None:
        if self.observer and self._work:
            self.observer(self._work, self._counts)

    def _print_line(self, text: str) -> None:
        if self._work is None or self._terminal.is_interactive:
            return
        if self._shares:
            self.print(self._shares)
            self._shares = ""
        self.print(f"{self._work.percent:3}%  {self._work.times}; {text}")
        self._printed = time.monotonic()

    def _table(self) -> Table:
        """Draw every step with its share and its progress, then the whole."""
        columns = (
            Column(no_wrap=True, overflow="ellipsis", max_width=20),
            Column(justify="right"),
            Column(width=_BAR),
            Column(no_wrap=True, overflow="ellipsis", ratio=1),
        )
        table, work = Table.grid(*columns, padding=(0, 1), expand=True), self._work
        if work is None:
            return table
        rows, title, text = work.rows, "total", work.times
        if len(rows) == 1:
            title, text = rows[0].title, f"{work.place(rows[0])}{self._counts}, {text}".strip(" ,")
        current = next((number for number, row in enumerate(rows) if not row.ended), len(rows))
        first = max(min(current - 2, len(rows) - _ROWS), 0)
        for row in rows[first : first + _ROWS] if len(rows) > 1 else ():
            state = "" if not row.ended else _clock(row.seconds) if row.seconds else "done before"
            if row in work.path:
                state = work.place(row).removeprefix(f"{row.title}: ") + self._counts
            share = f"{100 * row.weight:.0f}%"
            table.add_row(Text(row.title), share, _bar(row.done / row.weight), Text(state.strip()))
        if len(rows) > _ROWS:
            table.add_row("", "", "", f"{sum(row.ended for row in rows)} of {len(rows)} steps are done")
        table.add_row(Text(title), f"{work.percent}%", _bar(work.root.done), Text(text))
        return table


def _bar(share: float) -> ProgressBar:
    return ProgressBar(total=1.0, completed=share, width=_BAR)
