"""Nothing leaves this machine: a study, predictions, heat maps, the report and the page ask no other host.

`make test-offline` runs all quick tests where there is no network at all.
"""

import ipaddress
import shutil
import socket
import sys
import urllib.request

import pytest
from starlette.testclient import TestClient

from tests.small_runs import CLASSES, RECIPE, add_tiny_backbone, draw
from tumorboard.cli.main import main
from tumorboard.models.backbones import BACKBONES
from tumorboard.server import app, server

ASKING = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
_noted: list[list[str]] = []  # while a test looks; a hook stays for the life of the process


def _hook(event, arguments):
    if event in ASKING and _noted:
        host = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
        host = host[0] if isinstance(host, tuple) else host
        if not _at_home(host):
            _noted[-1].append(f"{event} {host!r}")
            raise PermissionError(f"a test asked for {host!r}")


def _at_home(host):
    """A socket of this machine's own: no host, a file, a loopback address."""
    try:
        return host in (None, "", "localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return isinstance(host, bytes | str) and host[:1] in ("/", b"/", "\0", b"\0")


@pytest.fixture(scope="module", autouse=True)
def _hooked():
    sys.addaudithook(_hook)


@pytest.fixture
def asked():
    """What was asked of other hosts, and refused."""
    _noted.append([])
    yield _noted[-1]
    _noted.pop()


@pytest.fixture
def study(tmp_path):
    add_tiny_backbone()
    draw(tmp_path / "data")
    recipe = RECIPE.replace("epochs = 4", "epochs = 1").replace("epochs = 3", "epochs = 1")
    (tmp_path / "recipe.toml").write_text(recipe)
    yield tmp_path
    del BACKBONES["tiny"]


def test_a_whole_study_and_its_use_ask_no_other_host(study, asked, capsys):
    run, data = str(study / "run"), str(study / "data")
    image = str(study / "data" / "test" / CLASSES[0] / f"{CLASSES[0]}0.png")
    commands = [
        ["train", data, "--out", run, "--recipe", str(study / "recipe.toml")],
        ["predict", run, data, "--out", str(study / "answers.csv")],
        ["explain", run, image, "--out", str(study / "maps"), "--model", "custom"],
        ["report", run],
    ]
    assert [main([*command, "--quiet"]) for command in commands] == [0] * len(commands)
    with TestClient(app.build(server.open_state(study / "run"))) as client:
        assert client.get("/").status_code == client.get("/report").status_code == 200
        with open(image, "rb") as content:
            assert client.post("/api/predict", content=content.read()).status_code == 200
    assert asked == []


def _datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("192.0.2.1", 53))


def test_the_check_finds_what_it_looks_for(asked):

    for ask in (
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.getaddrinfo("example.org", 80),
        _datagram,
        lambda: urllib.request.urlopen("http://example.org"),
    ):
        with pytest.raises(OSError, match="a test asked for"):
            ask()
    assert len(asked) == 4


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare, of util-linux")
def test_without_a_network_the_commands_work(tmp_path):
    import os
    import subprocess

    alone = ["unshare", "-rn", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no user namespaces")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    parts = ["tests/workflows", "tests/server", "tests/cli", "tests/export", "tests/test_offline.py"]
    found = subprocess.run([*alone, *command, *parts], capture_output=True, text=True, env=dict(os.environ))
    assert found.returncode == 0, found.stdout[-3000:]
