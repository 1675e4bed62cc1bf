import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tumorboard import run_folder, run_state, storage
from tumorboard.errors import DataError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import RunState, read_state, recorded

PLAN = {"prepare": 10.0, "custom": {"custom: training": 70.0}, "report": 20.0}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@contextlib.contextmanager
def working(run: RunFolder, console: Console):
    with run_folder.locked(run), console.overall(PLAN, earlier=5), recorded(run, console):
        yield


def finish(run: RunFolder) -> None:
    for file in (run.metrics, run.report):
        file.write_text("{}")


def test_others_read_how_far_a_run_is(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_state, "_SECONDS", 0.0)
    monkeypatch.setattr(run_state.time, "monotonic", lambda: 0.0)
    console = Console(quiet=True)
    with working(run, console):
        with console.phase("prepare"):
            pass
        with console.phase("custom"), console.task("custom: training") as update:
            update(2, 7, "loss 0.5")
            state = read_state(run)
    assert (state.status, state.holder.pid, state.error) == ("running", os.getpid(), "")
    shown = state.progress
    assert shown["fraction"] == pytest.approx(0.3)
    assert shown["elapsed"] >= 5
    assert shown["task"] == "custom: training 2/7, loss 0.5"
    assert [phase["title"] for phase in shown["phases"]] == list(PLAN)
    assert [phase["share"] for phase in shown["phases"]] == pytest.approx([0.1, 0.7, 0.2])
    assert [phase["fraction"] for phase in shown["phases"]] == pytest.approx([1, 2 / 7, 0], abs=1e-3)
    assert [phase["ended"] for phase in shown["phases"]] == [True, False, False]


def test_the_record_is_written_once_a_second_and_at_the_end(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written = [0.0], []

    def write(path: Path, content: dict) -> bool:
        written.append((clock[0], content["fraction"]))
        return True

    monkeypatch.setattr(run_state, "write_disposable", write)
    monkeypatch.setattr(run_state.time, "monotonic", lambda: clock[0])
    console = Console(quiet=True)
    with working(run, console), console.phase("custom"), console.task("custom: training") as update:
        for done in range(1, 101):
            clock[0] = done / 20
            update(done, 100)
    assert [when for when, _ in written] == [0, 1, 2, 3, 4, 5, 5]
    assert written[-1][1] == pytest.approx(0.7)


def test_a_slow_disk_is_written_to_less_often(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = [0.0], []

    def write(path: Path, content: dict) -> bool:
        written.append(clock[0])
        clock[0] += 1.0
        return True

    monkeypatch.setattr(run_state, "write_disposable", write)
    monkeypatch.setattr(run_state.time, "monotonic", lambda: clock[0])
    console = Console(quiet=True)
    with working(run, console), console.phase("custom"), console.task("custom: training") as update:
        for done in range(1, 101):
            clock[0] += 1.0
            update(done, 100)
    assert len(written) == 4  # at 0, 51 and 102 s, and at the end


def test_an_error_is_recorded_and_gone_after_the_next_start(run: RunFolder) -> None:
    console = Console(quiet=True)
    with pytest.raises(DataError), working(run, console), console.phase("prepare"):
        raise DataError("expected images, found none")
    assert (read_state(run).status, read_state(run).error) == ("stopped", "expected images, found none")
    with pytest.raises(ZeroDivisionError), working(run, console), console.phase("prepare"):
        raise ZeroDivisionError
    assert read_state(run).error == "an unexpected failure: ZeroDivisionError"
    with working(run, console):
        with console.phase("prepare"):
            assert read_state(run).error == ""
        finish(run)
    assert (read_state(run).status, read_state(run).error) == ("finished", "")
    assert read_state(run).progress["fraction"] > 0


def test_the_record_of_several_runs_is_that_of_the_whole(run: RunFolder) -> None:
    console, part = Console(quiet=True), RunFolder(run.root / "fold-1")
    with working(run, console), recorded(part, console), console.phase("prepare"):
        pass
    assert run.progress.is_file()
    assert not part.root.exists()


def test_a_disk_that_takes_no_record_stops_nothing(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(quiet=True)
    with working(run, console):
        monkeypatch.setattr(storage.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with console.phase("prepare"):
            pass
    assert [path.name for path in run.progress.parent.iterdir()] == []


def test_a_killed_run_is_stopped_also_if_another_process_got_its_number(run: RunFolder) -> None:
    code = "import sys; from tumorboard import run_folder; from tumorboard.run_folder import RunFolder\n"
    code += (
        "with run_folder.locked(RunFolder(__import__('pathlib').Path(sys.argv[1]))): input(print(flush=True))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(run.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    child.stdout.readline()
    assert read_state(run).status == "running"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert read_state(run).status == "stopped"  # nobody has waited for it yet
    child.communicate()
    assert read_state(run).status == "stopped"
    holder = run.root / ".holder.json"
    holder.write_text(json.dumps(json.loads(holder.read_text()) | {"pid": os.getpid()}))
    assert read_state(run).status == "stopped"


def test_a_process_elsewhere_works_as_long_as_it_records(run: RunFolder) -> None:
    run.progress.parent.mkdir(parents=True)
    (run.root / ".holder.json").write_text(json.dumps({"pid": 1, "host": f"not-{socket.gethostname()}"}))
    for seconds, status in ((10, "running"), (1000, "stopped")):
        run.progress.write_text(json.dumps({"written": time.time() - seconds}))
        assert read_state(run).status == status
    finish(run)
    assert read_state(run).status == "finished"


def test_reading_takes_no_lock(run: RunFolder) -> None:
    with run_folder.locked(run):
        pass
    before = sorted(run.root.iterdir())
    read_state(run)
    assert sorted(run.root.iterdir()) == before


@pytest.mark.parametrize("pid", ["-1", "0", "1e999", '"x"'])
def test_a_holder_that_is_no_process_counts_as_none(run: RunFolder, pid: str) -> None:
    run.root.mkdir(exist_ok=True)
    (run.root / ".holder.json").write_text(f'{{"pid": {pid}, "host": "{socket.gethostname()}"}}')
    assert run_folder.read_holder(run) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(run: RunFolder) -> None:
    run.progress.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(run.root / ".holder.json")
    os.mkfifo(run.progress)
    assert read_state(run) == RunState("stopped", None, {})


@pytest.mark.skipif(not os.path.exists("/bin/ps"), reason="no ps")
def test_a_process_is_told_from_a_later_one_without_proc_too() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        state, started = run_folder._status_of_ps(process.pid)
        assert state in "RSD"
        assert started.endswith(time.strftime("%Y"))
        process.kill()
    assert run_folder._status_of_ps(process.pid) == ("Z", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@example(content={"written": float("nan"), "left": float("inf")})
@example(content={"written": 10**400})
@given(content=st.dictionaries(st.sampled_from(["written", "fraction", "left", "phases", "error"]), JSON))
def test_a_damaged_record_counts_as_none(tmp_path_factory: pytest.TempPathFactory, content: dict) -> None:
    run = RunFolder(tmp_path_factory.mktemp("run"))
    run.progress.parent.mkdir()
    run.progress.write_text(json.dumps(content))
    json.dumps(read_state(run).progress, allow_nan=False)
