"""The pool of child processes: what it survives, and that it runs nothing that lies beside the data."""

import io
import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorboard import config, isolation
from tumorboard.data import sandbox
from tumorboard.data.sandbox import SandboxEndedError, SandboxPool, SandboxStartError
from tumorboard.server import decode_worker

MODULES = ("tumorboard.data.dicom.worker", "tumorboard.server.decode_worker")
REQUEST = {"image": config.Image(size=32).model_dump(), "key": "", "slice": 0}
CANARIES = ("json", "numpy", "types", "tumorboard", "warnings", "struct", "PIL", "pydicom", "typing")


def drawn(value):
    file = io.BytesIO()
    Image.new("L", (32, 32), value).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pool():
    made = SandboxPool(MODULES[1], seconds=60)
    yield made
    made.close()


def gone(pid):
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    return True


def test_a_process_is_kept_for_the_next_request(pool):
    pool.ask(REQUEST, drawn(1))
    first = pool.pids
    assert "error" in pool.ask(REQUEST, b"no image")[0]
    pool.ask(REQUEST, drawn(1))
    assert pool.pids == first
    assert len(first) == 1


def test_threads_get_their_own_answers(pool):
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda value: pool.ask(REQUEST, drawn(value))[1], range(60)))
    assert [set(answer) for answer in answers] == [{value} for value in range(60)]
    assert 1 <= len(pool.pids) <= 3


def test_a_killed_process_costs_one_request_and_is_not_asked_again(pool):
    for _ in range(3):
        pool.ask(REQUEST, drawn(1))
        os.kill(pool.pids[0], signal.SIGKILL)
        with pytest.raises(SandboxEndedError):
            pool.ask(REQUEST, drawn(1))
        assert pool.pids == []
    assert pool.ask(REQUEST, drawn(1))[0]["shape"] == [32, 32, 3]


def test_a_process_that_hangs_is_ended(pool):
    pool.ask(REQUEST, drawn(1))
    pid = pool.pids[0]
    pool.seconds = 0.2
    os.kill(pid, signal.SIGSTOP)
    rescue = threading.Timer(60, os.kill, (pid, signal.SIGKILL))  # so that this test does not hang either
    rescue.start()
    with pytest.raises(SandboxEndedError):
        pool.ask(REQUEST, drawn(1))
    assert not rescue.finished.is_set()
    rescue.cancel()
    assert gone(pid)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits cannot be read here")
def test_a_process_is_limited_and_in_a_session_of_its_own(pool):
    pool.ask(REQUEST, drawn(1))
    (pid,) = pool.pids
    assert resource.prlimit(pid, resource.RLIMIT_AS)[0] == decode_worker._MEMORY
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert 0 < resource.prlimit(pid, resource.RLIMIT_CPU)[0] < decode_worker._SECONDS + 60  # of the start
    assert os.getsid(pid) == pid  # Ctrl-C in the terminal does not reach it


def test_closing_ends_the_processes_and_the_pool_can_be_used_again(pool):
    pool.ask(REQUEST, drawn(1))
    pid = pool.pids[0]
    pool.close()
    assert gone(pid)
    assert pool.ask(REQUEST, drawn(1))[0]["shape"] == [32, 32, 3]


def test_an_answer_that_is_broken_off_is_not_taken(pool, monkeypatch):
    """An interruption leaves the rest of the answer in the pipe: the process must not be asked again."""
    pool.ask(REQUEST, drawn(1))
    pid = pool.pids[0]

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sandbox, "_exchange", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.ask(REQUEST, drawn(1))
    assert pool.pids == []
    assert gone(pid)


@pytest.mark.parametrize(
    "answer", [b"", b"[]\n", b"{}\n", b'{"bytes": "x"}\n', b'{"bytes": 9}\nshort', b"{" * 99]
)
def test_an_answer_that_is_none_ends_the_process(answer, pool, monkeypatch):
    """The child may be in the hands of the file that it decodes."""

    class Broken(subprocess.Popen):
        def __init__(self, _command, **options):
            script = "import sys; sys.stdout.write({!r}); sys.stdout.flush(); sys.stdin.readline(); {}"
            last = f"sys.stdout.buffer.write({answer!r})"
            super().__init__([sys.executable, "-c", script.format('{"ready": true}\n', last)], **options)

    monkeypatch.setattr(sandbox.subprocess, "Popen", Broken)
    with pytest.raises(SandboxEndedError):
        pool.ask(REQUEST)
    assert pool.pids == []


def test_a_machine_that_starts_no_process_is_named(pool, monkeypatch):
    def refused(*_, **_options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(sandbox.subprocess, "Popen", refused)
    with pytest.raises(SandboxStartError, match=r"cannot start a decoding process .* temporarily"):
        pool.ask(REQUEST, drawn(1))


def test_a_process_that_ends_before_it_is_asked_is_named():
    pool = SandboxPool("tumorboard.no_such_module", seconds=60)
    with pytest.raises(SandboxStartError, match="ended with status 1 before it was asked"):
        pool.ask(REQUEST, drawn(1))


FORK = """
import io, os, sys
from tumorboard.data.sandbox import SandboxPool
pool = SandboxPool(sys.argv[1], seconds=60)
request, content = eval(sys.argv[2]), bytes.fromhex(sys.argv[3])
expected = pool.ask(request, content)
pids = pool.pids
with pool._lock:  # as another thread may hold it at the moment of the fork
    child = os.fork()
if child == 0:
    assert not pool.pids
    sys.exit(0 if pool.ask(request, content) == expected and pool.pids != pids else 1)
assert os.waitpid(child, 0)[1] == 0
assert pool.ask(request, content) == expected
assert pool.pids == pids, "the child has ended its parent's worker"
print(pids[0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_workers_of_its_own_and_at_the_exit_all_are_ended():
    options = ["-W", "error", "-W", "ignore::DeprecationWarning"]
    command = [sys.executable, *options, "-c", FORK, MODULES[1], repr(REQUEST), drawn(1).hex()]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert gone(int(run.stdout))


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """A file that any module in the working directory writes when it is executed."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in CANARIES:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})\nraise SystemExit\n"
        )
    monkeypatch.chdir(folder)
    return tmp_path / "executed"


@pytest.mark.parametrize("module", MODULES)
def test_a_worker_executes_nothing_from_the_working_directory(module, executed):
    pool = SandboxPool(module, seconds=60)
    frame = REQUEST | {"image": {}, "rows": 1, "columns": 1, "syntax": "1.2.840.10008.1.2.5"}
    try:
        answer, _ = pool.ask(frame, b"x")
        links = [Path(f"/proc/{pid}/cwd") for pid in pool.pids]
        assert all(link.resolve() == Path(isolation.FOLDER) for link in links if link.exists())
    finally:
        pool.close()
    assert "error" in answer
    assert not executed.exists(), executed.read_text()


def test_the_option_of_the_interpreter_is_enough(pool, executed, monkeypatch):
    monkeypatch.setattr(isolation, "FOLDER", os.getcwd())
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    monkeypatch.setattr(isolation, "child_environment", lambda: inherited)
    assert "shape" in pool.ask(REQUEST, drawn(1))[0]
    assert not executed.exists(), executed.read_text()


def test_pixels_come_back_as_they_are(pool):
    header, content = pool.ask(REQUEST, drawn(7))
    assert (
        np.frombuffer(content, np.uint8).reshape(header["shape"]).tolist() == np.full((32, 32, 3), 7).tolist()
    )
