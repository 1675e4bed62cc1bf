import errno
import io
import re
import signal
import sys
import threading

import pytest
from rich.console import Console as Terminal

from tumorboard import progress
from tumorboard.errors import Interrupted
from tumorboard.progress import Console

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def test_everything_goes_to_standard_error(capsys: Capture) -> None:
    shown = Console()
    shown.print("one\n[bold]two[/bold] " + "long " * 60)
    with shown.task("work") as update:
        update(1, 1, "")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("one\n[bold]two[/bold] long")  # no markup, no line broken
    assert len(captured.err.splitlines()) == 3


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "No space left on device")])
def test_where_nothing_can_be_written_the_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    class Unwritable(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    shown, done = Console(), []
    monkeypatch.setattr(sys, "stderr", Unwritable())
    shown.print("one")
    with shown.task("work") as update:
        update(1, 1)
        done.append("work")
    assert done


def test_quiet_says_nothing(capsys: Capture) -> None:
    shown = Console(quiet=True)
    shown.print("one")
    with shown.task("work") as update:
        update(1, 1, "note")
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_plain_lines_come_now_and_then_and_at_the_end(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(float(second) for second in range(0, 300, 12))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with Console().task("fitting") as update:
        for done in range(0, 11):
            update(done, 10, "loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    counts = [int(re.match(r"fitting: (\d+)/10, about \d+ s left loss 0.5$", line)[1]) for line in lines]
    assert counts == [2, 5, 8, 10]
    assert "about 0 s left" in lines[-1]
    assert "2/10, about 144 s left" in lines[0]  # two in 36 seconds


def test_nothing_done_yet_divides_by_nothing(capsys: Capture) -> None:
    with Console().task("empty") as update:
        update(0, 0, "")
    assert capsys.readouterr().err == "empty: 0/0, about 0 s left\n"


def test_a_terminal_gets_a_bar(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def terminal(**options: object) -> Terminal:
        return Terminal(**options, force_terminal=True, width=120)

    monkeypatch.setattr(progress, "Terminal", terminal)
    with Console().task("fitting") as update:
        update(3, 10, "loss 0.5")
    shown = capsys.readouterr().err
    assert "fitting" in shown
    assert "3/10" in shown
    assert "loss 0.5" in shown


NUMBERS = [signal.SIGINT, signal.SIGTERM]


def send(number: int) -> None:
    """Call the handler, as Python does; the zygote sends real signals.

    One sent here ended the worker: pytest's faulthandler gives signals a stack of their own, and the kernel
    kills a process whose state, with the tiles of AMX after TensorFlow used them, does not fit on it.
    """
    signal.getsignal(number)(number, None)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_first_signal_is_only_noted_and_acted_upon_at_the_safe_point(number: signal.Signals) -> None:
    with progress.graceful():
        progress.stop_if_asked()
        send(number)
        with pytest.raises(Interrupted, match=f"stopped by {number.name}; repeat the same command") as caught:
            progress.stop_if_asked()
    assert caught.value.exit_code == 128 + number


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_second_signal_stops_at_once(number: signal.Signals) -> None:
    with progress.graceful():
        send(signal.SIGINT)
        with pytest.raises(Interrupted) as caught:
            send(number)
    assert caught.value.exit_code == 128 + number


def test_handlers_are_put_back_and_the_next_run_is_not_asked_to_stop() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]

    def asked_to_stop() -> None:
        send(signal.SIGTERM)
        progress.stop_if_asked()

    with pytest.raises(Interrupted), progress.graceful():
        asked_to_stop()
    assert [signal.getsignal(number) for number in NUMBERS] == before
    with progress.graceful():
        progress.stop_if_asked()


def test_off_the_main_thread_it_does_nothing() -> None:
    reached = []

    def work() -> None:
        with progress.graceful():
            reached.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert reached == [True]
