"""A real server with real models under storms and kills: every answer is right, and nothing is left.

A storm is 2,000 requests from 200 clients, each repeated while the server says that it is busy. Of ten
requests three are sound images, one is DICOM, one asks for a heat map, one is damaged, one breaks off, two
arrive slowly and one asks for the page. Meanwhile decoders are killed.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests import processes
from tests.data import dicoms
from tests.small_predictors import finished

from .test_server import HEAD, MB, address, files_of, memory

pytestmark = pytest.mark.slow

SEED, STORMS, REQUESTS, CLIENTS, KILLS, TRIES, SERVER_KILLS = 20261128, 5, 2000, 200, 20, 60, 5
DICOM = dicoms.image(np.arange(4096).reshape(64, 64), center=2000, width=4000)
SERVE = "import sys; from tumorboard.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder of temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def run(tmp_path):
    """A run with four small models."""
    run = finished(tmp_path / "run")
    metrics = json.loads(run.metrics.read_text())
    part = {"n": 60, "loss": 0.5, "accuracy": {"value": 0.8, "n": 60, "low": 0.68, "high": 0.88}}
    metrics["models"] = {name: {"splits": {"test": part}} for name in metrics["models"]}
    run.metrics.write_text(json.dumps(metrics | {"test_subsets": {}}))
    return run.root


@contextlib.contextmanager
def serving(run):
    """`tumorboard serve`: its address, and its process."""
    command = [sys.executable, "-c", SERVE, "serve", str(run), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())["url"], process
    finally:
        process.kill()
        process.communicate()


def ask(url, content, path="/api/predict", pieces=1):
    """Status and body of a request whose body arrives in so many pieces."""
    connection = http.client.HTTPConnection(*address(url), timeout=120)
    try:
        if content is None:
            connection.request("GET", path)
        else:
            connection.putrequest("POST", path)
            connection.putheader("Content-Type", "application/octet-stream")
            connection.putheader("Content-Length", str(len(content)))
            connection.endheaders()
            step = -(-len(content) // pieces)
            for start in range(0, len(content), step):
                time.sleep(0.1 * (pieces > 1))
                connection.send(content[start : start + step])
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask_until_free(url, content, path="/api/predict", pieces=1):
    """The answer to a request that is repeated, as Retry-After asks, while the server is busy."""
    for _ in range(TRIES):
        status, body = ask(url, content, path, pieces)
        if status != 503:
            break
        time.sleep(1)
    return status, body


def break_off(url, content):
    """Send a part of an upload, and go."""
    with socket.create_connection(address(url), timeout=120) as peer:
        head = HEAD % url.removeprefix("http://").strip("/").encode()
        peer.sendall(head + b"Content-Length: 1000000\r\n\r\n" + content[:1000])
    return None, b""


def storm(url, process, slice_png, draw):
    """One storm; the answers by kind of request."""
    files = {
        "sound": slice_png + bytes(MB),  # what follows a PNG's end is not read
        "dicom": DICOM,
        "damaged": slice_png[:-200],
    }
    requests = {
        "sound": lambda: ask_until_free(url, files["sound"]),
        "dicom": lambda: ask_until_free(url, files["dicom"]),
        "explained": lambda: ask_until_free(url, files["sound"], "/api/explain"),
        "damaged": lambda: ask_until_free(url, files["damaged"]),
        "broken off": lambda: break_off(url, slice_png),
        "slow": lambda: ask_until_free(url, files["sound"], pieces=5),
        "page": lambda: ask(url, None, "/"),
    }
    shares = {"sound": 3, "dicom": 1, "explained": 1, "damaged": 1, "broken off": 1, "slow": 2, "page": 1}
    kinds = [kind for kind, share in shares.items() for _ in range(share * REQUESTS // 10)]
    draw.shuffle(kinds)
    over = threading.Event()

    def kill_decoders():
        for _ in range(KILLS):
            if over.wait(0.5 + draw.random()):
                return
            decoders = processes.below(process.pid)
            with contextlib.suppress(OSError, IndexError):
                killed.append(draw.choice(decoders))
                os.kill(killed[-1], signal.SIGKILL)

    killed = []
    killer = threading.Thread(target=kill_decoders)
    killer.start()
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda kind: (kind, *requests[kind]()), kinds))
    over.set()
    killer.join()
    assert killed
    return answers


def settled(process, scratch):
    """Resident bytes, open files, threads and temporary files, once no connection is open any more."""
    opened = files_of(process)
    for _ in range(60):
        time.sleep(0.5)
        before, opened = opened, files_of(process)
        if opened == before:
            break
    threads = len(os.listdir(f"/proc/{process.pid}/task"))
    return memory(process), opened, threads, sorted(path.name for path in scratch.rglob("*"))


def test_after_the_fifth_storm_nothing_has_grown_since_the_second(run, scratch, slice_png):
    with serving(run) as (url, process):
        storms(url, process, scratch, slice_png)


def storms(url, process, scratch, slice_png):
    """Five storms, and what they left."""
    sys.stdout.write(f"seed {SEED}\n")
    draw = random.Random(SEED)  # noqa: S311
    single = {
        kind: ask(url, slice_png, path)[1]
        for kind, path in (("sound", "/api/predict"), ("explained", "/api/explain"))
    }
    single |= {"slow": single["sound"], "page": ask(url, None, "/")[1], "dicom": ask(url, DICOM)[1]}
    left = [settled(process, scratch)]
    for number in range(STORMS):
        answers = storm(url, process, slice_png, draw)
        left.append(settled(process, scratch))
        counts = {status: sum(one[1] == status for one in answers) for status in (200, 422, 500, 503, None)}
        sys.stdout.write(f"storm {number + 1}: {counts}, {left[-1][0] / MB:.0f} MB, {left[-1][1:3]}\n")
        assert {status for _, status, _ in answers} <= {200, 422, 500, 503, None}
        assert {kind for kind, status, _ in answers if status == 422} == {"damaged"}
        for kind, body in single.items():
            assert {found for one, status, found in answers if (one, status) == (kind, 200)} == {body}, kind
        assert counts[200] > 0.9 * REQUESTS * 8 / 10
        assert ask(url, slice_png) == (200, single["sound"])
    memories, opened, threads, files = zip(*left, strict=True)
    assert memories[5] <= 1.05 * memories[2]
    assert opened[5] <= opened[1]  # the first answers open what every later one uses
    assert threads[5] <= threads[1]
    assert files[5] == files[0]
    assert process.poll() is None


def test_a_server_that_is_killed_leaves_its_run_as_it_was_and_nothing_else(run, scratch, slice_png):
    sys.stdout.write(f"seed {SEED}\n")
    draw = random.Random(SEED)  # noqa: S311
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    answers, broken = set(), 0

    def answered(url):
        try:
            return ask(url, slice_png)
        except (OSError, http.client.HTTPException):
            return None

    for _ in range(SERVER_KILLS):
        with serving(run) as (url, process), ThreadPoolExecutor(8) as clients:
            answers.add(ask(url, slice_png))
            asked = [clients.submit(answered, url) for _ in range(100)]
            time.sleep(draw.random())
            family = processes.below(process.pid)
            process.kill()
            found = [one.result() for one in asked]
            answers |= {one for one in found if one}
            broken += found.count(None)
        assert processes.all_end([process.pid, *family])
    assert {status for status, _ in answers} <= {200, 503}
    assert len({body for status, body in answers if status == 200}) == 1
    assert broken
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not [path for path in scratch.rglob("*") if path.is_file()]
