"""Processes that decode what may be hostile: how they are asked, and how they answer.

A request and its answer are a line of JSON, then the bytes that it announces: nothing is unpickled. Who asks
calls `started`, `exchange` and `end`; the process itself `limit_memory`, `answer_all` and `limit_time`.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

try:
    import resource
except ImportError:  # Windows has no such limits; the time limit of those who ask holds there too
    resource = None  # type: ignore[assignment]

Message = tuple[dict[str, Any], bytes]


def started(module: str) -> "subprocess.Popen[bytes]":
    """A process that runs a module of ours.

    Without -P the working directory would come first on its import path: a `json.py` in a downloaded data set
    would be executed.
    """
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is ours to answer
    )


def exchange(worker: "subprocess.Popen[bytes]", request: dict[str, Any], content: bytes) -> Message:
    """Ask once, and wait for the answer.

    Raises:
        OSError, ValueError: The process ended, or answered with something else.
    """
    if worker.stdin is None or worker.stdout is None:
        raise OSError
    worker.stdin.write(json.dumps({**request, "bytes": len(content)}).encode() + b"\n" + content)
    worker.stdin.flush()
    header: dict[str, Any] = json.loads(worker.stdout.readline())
    answer = worker.stdout.read(header["bytes"])
    if len(answer) < header["bytes"]:
        raise OSError
    return header, answer


def end(worker: "subprocess.Popen[bytes]") -> None:
    """Kill the process, whatever it is doing."""
    worker.kill()
    for pipe in (worker.stdin, worker.stdout):
        if pipe:
            try:
                pipe.close()
            except OSError:  # it ended with our request half written
                continue
    worker.wait()


def answer_all(answer: Callable[[dict[str, Any], bytes], Message]) -> None:
    """In the process: answer requests until standard input ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Decoders print about damaged files.
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    while line := requests.readline():
        request = json.loads(line)
        header, content = answer(request, requests.read(request.pop("bytes")))
        answers.write(json.dumps(header | {"bytes": len(content)}).encode() + b"\n" + content)
        answers.flush()


def limit_memory(size: int) -> None:
    """In the process: no more bytes than that, and no dump of them."""
    if resource:
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: int) -> None:
    """In the process: so much for the next answer, of the processor, not of the clock.

    A busy machine must not make a good file look bad.
    """
    if resource:
        end = math.ceil(time.process_time()) + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
