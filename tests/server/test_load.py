"""What takes minutes: hundreds of clients, slow and broken ones, and what is left after them."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.data import dicoms

from .conftest import serving
from .test_server import HEAD, MB, address, memory, post, raw

pytestmark = pytest.mark.slow


def test_two_hundred_at_once_and_two_thousand_in_all(served, slice_png):
    url, process = served()
    content = slice_png + bytes(MB)
    single = post(url, content)
    before, peak, stop = memory(process), [0], threading.Event()

    def watch():
        while not stop.wait(0.05):
            peak.append(memory(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(200) as clients:
        found = list(clients.map(lambda _: post(url, content), range(2000)))
    stop.set()
    watcher.join()
    assert {status for status, _, _ in found} <= {200, 503}
    assert {body for status, _, body in found if status == 200} == {single[2]}
    assert all(int(headers["Retry-After"]) for status, headers, _ in found if status == 503)
    assert max(peak) - before < 300 * MB


def test_a_preamble_of_a_gigabyte_is_refused_before_it_is_kept(served):
    url, process = served()
    before = memory(process)
    head = HEAD % urlsplit(url).netloc.encode()
    assert raw(url, head + b"Content-Length: %d\r\n\r\n" % (1 << 30), bytes(MB), 1024)[9:12] in (b"413", b"")
    line = raw(url, head + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + bytes(MB) + b"\r\n", 1024)
    assert line == b"reset" or line[9:12] == b"413"
    assert memory(process) - before < 100 * MB


def test_two_hundred_slow_clients_hold_up_nobody_and_are_cut_off(served, slice_png):
    url, _process = served(json.dumps({"header_seconds": 5}))
    peers = [socket.create_connection(address(url), timeout=60) for _ in range(200)]
    try:
        for peer in peers:
            peer.sendall(b"POST /api/predict HTTP/1.1\r\nHo")
        assert [post(url, slice_png)[0] for _ in range(20)] == [200] * 20
        assert [peer.recv(1) for peer in peers] == [b""] * 200
    finally:
        for peer in peers:
            peer.close()


TAGS = (0x00080080, 0x00080081, 0x00080090, 0x00081010, 0x00081030, 0x00081070, 0x00090011, 0x00100010)
TAGS += (0x00100020, 0x00101001, 0x00101040, 0x00104000, 0x00181030, 0x0020000D, 0x00204000, 0x00400244)


def planted(monkeypatch):
    """A DICOM with a secret in elements that say who it is of, private ones too; and the secrets."""
    secrets = {f"secret{number}": f"PHI{number:04d}XYZ" for number in range(len(TAGS))}
    for name, tag in zip(secrets, TAGS, strict=True):
        monkeypatch.setitem(dicoms.NAMES, name, (tag, "LO"))
    pixels = np.arange(1024).reshape(32, 32) * 2
    return dicoms.image(pixels, intercept=-1024, slope=1, center=0, width=500, **secrets), secrets.values()


def test_nothing_that_says_who_the_patient_is_comes_back(tmp_path, monkeypatch):
    content, secrets = planted(monkeypatch)
    assert all(secret.encode() in content for secret in secrets)
    with serving(tmp_path) as (url, process):
        damaged = [content[:cut] for cut in (200, 400, len(content) - 500)]
        answers = [post(url, one) for one in (content, *damaged)]
        assert answers[0][0] == 200
        process.terminate()
        said = "".join(process.communicate(timeout=30))
    told = b"".join(str(headers).encode() + body for _, headers, body in answers) + said.encode()
    kept = b"".join(path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file())
    assert not [secret for secret in secrets if secret.encode() in told + kept]
