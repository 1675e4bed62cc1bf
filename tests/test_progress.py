import contextlib
import errno
import io
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorboard import progress
from tumorboard.errors import Interrupted
from tumorboard.progress import Console, Update, Work

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


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def carry_out(update: Update, clock: Clock, seconds: float, start: int, total: int, note: str = "") -> None:
    for done in range(start + 1, total + 1):
        clock.now += seconds
        update(done, total, note)


PLAN = {"prepare": 10.0, "custom": {"custom: training": 60.0, "custom: predicting": 10.0}, "report": 20.0}


def test_printed_lines_are_of_the_whole_work(capsys: Capture, clock: Clock) -> None:
    shown = Console()
    with shown.overall(PLAN):
        with shown.phase("prepare"):
            clock.now += 10
        with shown.phase("custom"):
            with shown.task("custom: training") as update:
                carry_out(update, clock, 12, 0, 10, "loss 0.5")
            with shown.task("custom: predicting") as update:
                carry_out(update, clock, 1, 0, 22)
        with shown.phase("report"):
            clock.now += 20
    assert capsys.readouterr().err.splitlines() == [
        "expected shares: prepare 10%, custom 70%, report 20%",
        " 10%  0:00:10 elapsed, about 0:01:30 left; prepare done",
        # 7 epochs of 12 s, and for the 30% that follow as long as for the 28% until now.
        " 28%  0:00:46 elapsed, about 0:02:13 left; custom: training 3/10, loss 0.5",
        " 46%  0:01:22 elapsed, about 0:01:41 left; custom: training 6/10, loss 0.5",
        " 64%  0:01:58 elapsed, about 0:01:07 left; custom: training 9/10, loss 0.5",
        " 78%  0:02:28 elapsed, about 0:00:42 left; custom: predicting 18/22",
        " 80%  0:02:32 elapsed, about 0:00:38 left; custom done",
        "100%  0:02:52 elapsed; report done",
    ]


def test_work_without_a_plan_is_its_one_task(capsys: Capture, clock: Clock) -> None:
    with Console().task("predicting") as update:
        carry_out(update, clock, 8, 0, 10, "1 unreadable")
    assert capsys.readouterr().err.splitlines() == [
        " 40%  0:00:32 elapsed, about 0:00:48 left; predicting 4/10, 1 unreadable",
        " 80%  0:01:04 elapsed, about 0:00:16 left; predicting 8/10, 1 unreadable",
        "100%  0:01:20 elapsed; predicting 10/10, 1 unreadable",
    ]


def test_lines_of_long_work_are_further_apart(capsys: Capture, clock: Clock) -> None:
    with Console().task("predicting") as update:
        carry_out(update, clock, 10, 0, 8640)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 350  # a whole day


def test_more_than_was_counted_is_no_more_than_everything(capsys: Capture, clock: Clock) -> None:
    with Console().task("predicting") as update:
        carry_out(update, clock, 1, 0, 5)
        update(6, 5)
    assert capsys.readouterr().err == "100%  0:00:05 elapsed; predicting 6/6\n"


def test_names_do_nothing_to_the_terminal(capsys: Capture) -> None:
    for console in (Console(), Console(quiet=True)):
        console.print("left out: \x1b]0;owned\x07\x1b[31m.png")
        console.warn("left out: \x1b]0;owned\x07\x9b31m\u202e.png")
    shown = capsys.readouterr().err
    assert shown.count(r"\x1b]0;owned\x07") == 3
    assert not set(shown) & set("\x1b\x07\x9b\u202e")


def test_what_was_done_before_is_done_and_does_not_tell_the_speed(capsys: Capture, clock: Clock) -> None:
    """A resumed run: preparing is repeated, cached images are there, training goes on in epoch 7."""
    shown = Console()
    with shown.overall(PLAN, earlier=100.0):
        with shown.phase("prepare"):
            clock.now += 10
        with shown.phase("custom"):
            with shown.task("custom: training", start=6) as update:
                carry_out(update, clock, 6, 6, 10)
            with shown.task("custom: predicting"):
                clock.now += 1  # nothing had to be predicted
        with shown.phase("report"):
            clock.now += 20
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == " 10%  0:01:50 elapsed, about 0:01:30 left; prepare done"
    assert lines[2] == " 80%  0:02:15 elapsed, about 0:00:21 left; custom done"  # 34% of the work in 35 s
    assert lines[3] == "100%  0:02:35 elapsed; report done"


def test_an_early_end_counts_as_done_and_is_announced(capsys: Capture, clock: Clock) -> None:
    shown = Console()
    with shown.overall(PLAN, may_end_early=["custom: training"]):
        with shown.phase("prepare"):
            clock.now += 10
        with shown.phase("custom"), shown.task("custom: training") as update:
            carry_out(update, clock, 6, 0, 5)
            for done in range(1, 6):
                update(done, 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == " 10%  0:00:10 elapsed, about 0:01:30 left at most; prepare done"
    assert lines[-1].startswith(" 80%  0:00:40 elapsed, about ")
    assert lines[-1].endswith(" left; custom done")


def test_between_updates_the_time_left_runs_down_to_zero_and_no_further(clock: Clock) -> None:
    work = Work({"a": 1.0, "b": 1.0})
    work.enter("a")
    clock.now += 10
    work.leave(ended=True, measured=True)
    assert work.times == "0:00:10 elapsed, about 0:00:10 left"
    clock.now += 4
    assert work.times == "0:00:14 elapsed, about 0:00:06 left"
    clock.now += 400
    assert work.times == "0:06:54 elapsed, about 0:00:00 left"


def test_steps_of_other_processes_count_when_they_are_done(capsys: Capture, clock: Clock) -> None:
    shown = Console()
    of_run = {"prepare": 2.0, "custom": 8.0}
    with shown.overall({"fold-1": of_run, "fold-2": of_run, "fold-3": of_run, "report": 10.0}):
        shown.finish("fold-1", measured=False)  # of an earlier command
        shown.finish("fold-3", "prepare")
        clock.now += 60
        shown.finish("fold-2", "custom")  # whichever comes first
        shown.finish("fold-2")
        shown.finish("fold-3")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["30%", "50%", "55%", "75%"]
    assert lines[-1] == " 75%  0:01:00 elapsed, about 0:00:30 left; fold-3 done"


def test_a_plan_within_a_step_shares_its_weight(clock: Clock) -> None:
    shown = Console()
    with (
        shown.overall({"first": 1.0, "second": 3.0}),
        shown.phase("second"),
        shown.overall({"a": 5.0, "b": 5.0}),
    ):
        with shown.phase("a"):
            pass
        assert shown._work.percent == 37
    assert shown._work is None


@given(st.data())
def test_whatever_happens_it_stays_between_0_and_100_and_never_goes_back(data: st.DataObject) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "time", clock)
        work = Work(PLAN, may_end_early=["custom"])
        before = 0
        for title in ("prepare", "custom", "unplanned", "report"):
            work.enter(title)
            for task in data.draw(st.lists(st.sampled_from(["custom: training", "custom: predicting", "?"]))):
                work.enter(task, data.draw(st.integers(0, 9)))
                for done in data.draw(st.lists(st.integers(0, 12))):  # backwards and beyond the end too
                    clock.now += data.draw(st.floats(0, 1e6))
                    work.update(done, data.draw(st.integers(0, 9)))
                    assert before <= work.percent <= 100
                    before = work.percent
                    assert "-" not in work.times
                work.leave(data.draw(st.booleans()), measured=False)
            work.leave(ended=True, measured=data.draw(st.booleans()))
        assert work.percent == 100


SCRIPT = """
import json, sys, time
from tumorboard import progress
shown = progress.Console(quiet="--quiet" in sys.argv)
tasks = {f"custom: {part}": 1.0 for part in ("training", "predicting train")}
with progress.graceful(), shown.overall({"prepare": 2.0, "custom": tasks, "report": 1.0}):
    with shown.phase("prepare"):
        shown.print("a note that stays above the table " + 9 * "and is long ")
    with shown.phase("custom"), shown.task("custom: training") as update:
        update(12, 25, "loss 0.433, val. accuracy 0.900")
        print(json.dumps({"halfway": True}), flush=True)
        while "--forever" in sys.argv:
            progress.stop_if_asked()
            time.sleep(0.01)
    with shown.phase("report"):
        pass
print(json.dumps({"done": True}))
"""


def in_terminal(*flags: str, stop: bool = False, **environment: str) -> tuple[str, str, int]:
    """Run the script with a terminal of 80 columns as standard error; returns both streams and the code."""
    terminal, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 80))
    settings = {
        "TERM": "xterm",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        **environment,
    }
    command = [sys.executable, "-c", SCRIPT, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=child, env=settings, text=True) as run:
        os.close(child)
        out, shown = run.stdout.readline(), b""
        while stop and b"12/25" not in shown:
            shown += os.read(terminal, 65536)
        if stop:
            run.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the other side is closed
            while part := os.read(terminal, 65536):
                shown += part
        out += run.stdout.read()
    os.close(terminal)
    return shown.decode(), out, run.returncode


def screen(shown: str) -> list[str]:
    """The lines that a terminal shows in the end; of the control sequences those that move up and erase."""
    lines, row = [""], 0
    for text in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", shown):
        if text == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text == "\x1b[2K":
            lines[row] = ""
        elif text == "\x1b[1A":
            row -= 1
        elif not text.startswith(("\x1b", "\r")):
            lines[row] += text
    return lines


def test_a_terminal_shows_every_step_and_the_whole_in_80_columns() -> None:
    shown, out, code = in_terminal()
    assert (out, code) == ('{"halfway": true}\n{"done": true}\n', 0)
    lines = [line.rstrip() for line in screen(shown)]
    assert lines[0].startswith("a note that stays above the table and is long")
    table = [line for line in lines[1:] if line]
    assert [line.split()[:2] for line in table] == [
        ["prepare", "40%"],
        ["custom", "40%"],
        ["report", "20%"],
        ["total", "100%"],
    ]
    assert table[-1].endswith("elapsed")
    assert max(map(len, table)) <= 80
    assert shown.endswith("\x1b[?25h")  # the cursor is back


def test_ctrl_c_leaves_the_terminal_as_it_was_with_what_was_done() -> None:
    shown, out, code = in_terminal("--forever", stop=True)
    assert code != 0
    assert "done" not in out
    table, error = shown.split("\x1b[?25h")
    assert "stopped by SIGINT; repeat the same command" in error
    assert "training 12/25, loss 0.433, val. accuracy 0.900" in table
    assert [line.split()[:2] for line in screen(table) if line.startswith("total")] == [["total", "49%"]]


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TTY_INTERACTIVE": "0"}])
def test_a_terminal_that_cannot_redraw_gets_lines(environment: dict[str, str]) -> None:
    shown, _, code = in_terminal(**environment)
    assert code == 0
    assert "\x1b" not in shown
    assert shown.splitlines()[-1].startswith("100%  0:00:0")


def test_quiet_shows_nothing_on_a_terminal() -> None:
    shown, out, code = in_terminal("--quiet")
    assert (shown, out, code) == ("", '{"halfway": true}\n{"done": true}\n', 0)


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
