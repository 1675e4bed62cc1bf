"""A real server in a process of its own: sockets, signals, load."""

import http.client
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tumorboard.errors import UsageError
from tumorboard.server import server

MB = 1 << 20
HEAD = b"POST /api/predict HTTP/1.1\r\nHost: %s\r\n"


def address(url):
    parts = urlsplit(url)
    return parts.hostname, parts.port


def post(url, content):
    """Status, headers and body of one upload."""
    connection = http.client.HTTPConnection(*address(url), timeout=60)
    connection.request("POST", "/api/predict", content, {"Content-Type": "application/octet-stream"})
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def memory(process):
    """Resident bytes."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104
def test_another_address_needs_a_token(host):
    with pytest.raises(UsageError, match="token"):
        server.check_access(host, "")
    with pytest.raises(UsageError, match="token"):
        server.check_access(host, "short")
    server.check_access(host, "abcdefgh12345678")


def test_a_port_in_use_is_one_line():
    with server.listen("127.0.0.1", 0) as listener, pytest.raises(UsageError, match="another --port"):
        server.listen("127.0.0.1", listener.getsockname()[1])


def raw(url, start, more=b"", times=0):
    """The first line that the server answers to these bytes; it may cut us off while we still send."""
    with socket.create_connection(address(url), timeout=10) as peer:
        peer.sendall(start)
        try:
            for _ in range(times):
                peer.sendall(more)
        except OSError:
            pass
        try:
            return peer.recv(100).split(b"\r\n")[0]
        except ConnectionResetError:
            return b"reset"


def test_big_and_lying_bodies_are_refused_and_cost_no_memory(served):
    url, process = served()
    head = HEAD % urlsplit(url).netloc.encode()
    chunk = b"100000\r\n" + bytes(MB) + b"\r\n"
    before = memory(process)
    found = {
        "announced": raw(url, head + b"Content-Length: 4294967296\r\n\r\n"),
        "endless": raw(url, head + b"Transfer-Encoding: chunked\r\n\r\n", chunk, 100),
        "gzip": raw(url, head + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n123456789"),
        "fields": raw(
            url,
            head + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 4000000\r\n\r\n",
            b"a=1&" * 1000000,
            1,
        ),
        "parts": raw(
            url,
            head + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 4000000\r\n\r\n",
            b"--x\r\n\r\n" * 100000,
            1,
        ),
        "header": raw(url, head, b"X: " + bytes(MB).replace(b"\0", b"a") + b"\r\n", 10),
        "both lengths": raw(url, head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    }
    for name, line in found.items():
        assert line[9:10] == b"4" or line == b"reset", (name, line)
    assert found["announced"][9:12] == found["endless"][9:12] == b"413"
    assert found["gzip"][9:12] == found["fields"][9:12] == found["parts"][9:12] == b"415"
    assert memory(process) - before < 100 * MB


def test_under_load_every_answer_is_the_single_one_or_a_503(served, slice_png):
    url, process = served()
    content = slice_png + bytes(MB)  # what follows a PNG's end is not read
    single = post(url, content)
    assert single[0] == 200
    before = memory(process)
    with ThreadPoolExecutor(40) as clients:
        found = list(clients.map(lambda _: post(url, content), range(80)))
    assert {status for status, _, _ in found} <= {200, 503}
    assert {body for status, _, body in found if status == 200} == {single[2]}
    assert all(int(headers["Retry-After"]) for status, headers, _ in found if status == 503)
    assert memory(process) - before < 300 * MB
    assert post(url, content)[0] == 200


def test_asked_to_stop_it_finishes_what_it_answers(served, slice_png):
    url, process = served(json.dumps({"seconds": 2}))
    with ThreadPoolExecutor(3) as clients:
        answers = [clients.submit(post, url, slice_png) for _ in range(3)]
        time.sleep(3)  # all three have been received; one may be answered
        process.send_signal(signal.SIGTERM)
        assert [answer.result()[0] for answer in answers] == [200] * 3
    assert process.wait(10) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address(url))


def test_a_client_that_never_says_what_it_wants_is_cut_off(served):
    url, _process = served(json.dumps({"header_seconds": 1}))
    with socket.create_connection(address(url), timeout=30) as peer:
        peer.sendall(b"GET / HT")
        assert peer.recv(10) == b""


def files_of(process):
    """Open files, and files in the temporary folder that are this process's."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_after_aborted_uploads_nothing_is_left(served, slice_png, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    url, process = served()
    assert post(url, slice_png)[0] == 200
    left, opened = sorted(scratch.rglob("*")), files_of(process)
    for number in range(100):
        if number % 5:
            assert post(url, slice_png)[0] == 200
            continue
        with socket.create_connection(address(url), timeout=10) as peer:
            head = HEAD % urlsplit(url).netloc.encode()
            peer.sendall(head + b"Content-Length: 1000000\r\n\r\n" + slice_png[:100])
    time.sleep(1)
    assert post(url, slice_png)[0] == 200
    assert sorted(scratch.rglob("*")) == left
    assert files_of(process) <= opened + 2  # a connection that is still closing
