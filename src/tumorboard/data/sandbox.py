"""Limited child processes for decoding files that may be hostile.

A request and its answer are a line of JSON, then the bytes that it announces: nothing is unpickled. The
parent uses `SandboxPool`; the child calls `limit_memory`, `answer_all` and, per request, `limit_time`.
"""

import atexit
import contextlib
import json
import math
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tumorboard import isolation
from tumorboard.errors import TumorboardError

try:
    import resource
except ImportError:  # Windows has no such limits; the pool's own time limit holds there too
    resource = None  # type: ignore[assignment]

Message = tuple[dict[str, Any], bytes]

_READY = {"ready": True}
_START_SECONDS = 120
_TICK_SECONDS = 0.2
_LONGEST_HEADER = 1 << 20


class SandboxEndedError(Exception):
    """The child process crashed, was killed or hung at a request."""


class SandboxStartError(TumorboardError):
    """No child process can be started: a fault of the machine, not of the file."""


class SandboxPool:
    """Child processes that answer one request at a time, started when needed and kept for the next request.

    Threads may share a pool. A forked process starts children of its own. Idle children end with the
    interpreter, or with `close`, after which the pool can still be used.

    Args:
        module: Run as `python -P -m module`; it calls `answer_all`.
        seconds: Wall-clock time for one answer, after which the child is killed.
    """

    def __init__(self, module: str, seconds: float) -> None:
        self.seconds = seconds
        self._module = module
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        _pools.add(self)

    @property
    def pids(self) -> list[int]:
        """List the process ids of the idle children."""
        return [worker.pid for worker in self._idle]

    def ask(self, request: dict[str, Any], content: bytes = b"", seconds: float | None = None) -> Message:
        """Send one request to an idle child, or to a new one, and wait for its answer.

        Args:
            request: What the child's function gets, as JSON.
            content: The bytes that go with it.
            seconds: For this answer; None for the pool's.

        Returns:
            The header of the answer, and its bytes.

        Raises:
            SandboxEndedError: The child ended, hung or broke the protocol; it is not asked again.
            SandboxStartError: No child can be started.
        """
        line = json.dumps({**request, "bytes": len(content)}).encode() + b"\n"
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or _start(self._module)
        try:
            with _watchdog.limit(worker, seconds or self.seconds):
                answer = _exchange(worker, line, content)
        except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
            _end(worker)
            raise SandboxEndedError from error
        except BaseException:  # for example an interruption by the user: the answer is still in the pipe
            _end(worker)
            raise
        with self._lock:
            self._idle.append(worker)
        return answer

    def ask_of_file(
        self, request: dict[str, Any], source: Path | bytes, seconds: float | None = None
    ) -> Message:
        """Ask about a file, or about its content, twice if the first child ends.

        Something else may have killed it, as a machine does that runs out of memory.

        Raises:
            SandboxEndedError, SandboxStartError: As `ask`.
        """
        content = source if isinstance(source, bytes) else b""
        if isinstance(source, Path):
            request = {**request, "path": str(source.absolute())}
        try:
            return self.ask(request, content, seconds)
        except SandboxEndedError:
            return self.ask(request, content, seconds)

    def close(self) -> None:
        """End the idle children."""
        with self._lock:
            while self._idle:
                _end(self._idle.pop())

    def _forget(self) -> None:
        """In a forked process, leave the children to the parent, which also ends them."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        for worker in self._idle:
            worker.returncode = 0
            for pipe in (worker.stdin, worker.stdout):
                if pipe:
                    pipe.close()  # this process's end of it
        self._idle.clear()


class _Watchdog:
    """Kill children that do not answer in time; one thread, for a timer per answer would double its cost."""

    def __init__(self) -> None:
        self._deadlines: dict[subprocess.Popen[bytes], float] = {}
        self._lock = threading.Lock()
        self._watching = False

    @contextlib.contextmanager
    def limit(self, worker: "subprocess.Popen[bytes]", seconds: float) -> Iterator[None]:
        """Kill the child if it takes longer, give or take a tick."""
        with self._lock:
            self._deadlines[worker] = time.monotonic() + seconds
            if not self._watching:
                threading.Thread(target=self._watch, daemon=True).start()
                self._watching = True
        try:
            yield
        finally:
            with self._lock:
                del self._deadlines[worker]

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK_SECONDS)
            with self._lock:
                for worker, deadline in self._deadlines.items():
                    if time.monotonic() > deadline:
                        worker.kill()
                if not self._deadlines:
                    self._watching = False
                    return


_watchdog = _Watchdog()
_pools: "weakref.WeakSet[SandboxPool]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for pool in list(_pools):
        pool.close()


def _forget_all() -> None:
    global _watchdog
    _watchdog = _Watchdog()  # threads do not survive a fork
    for pool in list(_pools):
        pool._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _start(module: str) -> "subprocess.Popen[bytes]":
    """Start a child, and wait until it says that it can be asked."""
    failed = f"cannot start a decoding process (python -m {module}): "
    try:
        # Nothing that lies in the working directory is imported: a downloaded data set may hold a `json.py`.
        worker = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=isolation.child_environment(),
            cwd=isolation.FOLDER,
            start_new_session=True,  # Ctrl-C is for the parent to answer
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SandboxStartError(
            f"{failed}{reason}; free memory or end other processes, and repeat"
        ) from error
    try:
        with _watchdog.limit(worker, _START_SECONDS):
            ready = _read_header(worker) == _READY
    except (OSError, ValueError):
        ready = False
    except BaseException:
        _end(worker)
        raise
    if not ready:
        _end(worker)
        raise SandboxStartError(
            f"{failed}it ended with status {worker.returncode} before it was asked anything; "
            "check the installation and the free memory"
        )
    return worker


def _exchange(worker: "subprocess.Popen[bytes]", line: bytes, content: bytes) -> Message:
    if worker.stdin is None or worker.stdout is None:
        raise OSError
    worker.stdin.write(line)
    worker.stdin.write(content)
    worker.stdin.flush()
    header = _read_header(worker)
    answer = worker.stdout.read(header["bytes"])
    if len(answer) < header["bytes"]:
        raise OSError
    return header, answer


def _read_header(worker: "subprocess.Popen[bytes]") -> dict[str, Any]:
    if worker.stdout is None:
        raise OSError
    header: dict[str, Any] = json.loads(worker.stdout.readline(_LONGEST_HEADER))
    return header


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """Kill a child, whatever it is doing."""
    worker.kill()
    for pipe in (worker.stdin, worker.stdout):
        if pipe:
            try:
                pipe.close()
            except OSError:  # it ended with our request half written
                continue
    worker.wait()


def answer_all(answer: Callable[[dict[str, Any], bytes], Message]) -> None:
    """In the child: answer requests until standard input ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Decoders print about damaged files.
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    answers.write(json.dumps(_READY).encode() + b"\n")
    answers.flush()
    while line := requests.readline():
        request = json.loads(line)
        header, content = answer(request, requests.read(request.pop("bytes")))
        answers.write(json.dumps(header | {"bytes": len(content)}).encode() + b"\n" + content)
        answers.flush()


def limit_memory(size: int) -> None:
    """In the child: allow no more than that many bytes of address space, and no dump of them."""
    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: int) -> None:
    """In the child: allow that much processor time for the next answer.

    Not time of the clock: a busy machine must not make a good file look damaged.
    """
    if resource:
        end = math.ceil(time.process_time()) + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
