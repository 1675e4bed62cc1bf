"""Commands that serve a page; the servers are tested in tests/server."""

import http.client
import json
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tumorboard.cli.main import main
from tumorboard.cli.server_commands import _token


def refusal(capsys, *arguments):
    code = main(["serve", *map(str, arguments)])
    return code, capsys.readouterr().err


def test_to_be_reached_by_others_needs_a_token(capsys, tmp_path):
    code, text = refusal(capsys, tmp_path, "--host", "0.0.0.0")  # noqa: S104
    assert code == 2
    assert "--token-file" in text


def test_a_token_that_cannot_be_read_is_one_line(capsys, tmp_path):
    code, text = refusal(capsys, tmp_path, "--token-file", tmp_path / "none")
    assert code == 2
    assert text.count("\n") == 1


def test_a_token_file_of_any_editor_holds_the_token_alone(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "token").write_bytes("secret\r\n".encode(encoding))
        assert _token(tmp_path / "token") == "secret"


def test_a_folder_that_is_no_run_is_one_line(capsys, tmp_path):
    code, text = refusal(capsys, tmp_path, "--port", 0)
    assert code == 6
    assert text.count("\n") == 1


def test_help_of_serve_has_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "curl --data-binary" in capsys.readouterr().out


def test_ui_of_a_folder_that_is_not_there_is_one_line(capsys, tmp_path):
    assert main(["ui", str(tmp_path / "nowhere")]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["ui", "--help"])
    assert "tumorboard ui studies/" in capsys.readouterr().out


def test_ui_prints_its_secret_and_ends_at_once_although_a_page_listens(tmp_path):
    command = [sys.executable, "-m", "tumorboard", "ui", str(tmp_path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = urlsplit(json.loads(process.stdout.readline())["url"])
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        connection.request("GET", "/api/events")
        assert connection.getresponse().status == 401
        connection.close()
        token = url.query.removeprefix("token=")
        assert len(token) == 32
        connection.request("GET", "/api/events", headers={"Cookie": f"tumorboard-token-{url.port}={token}"})
        assert connection.getresponse().readline() == b"data: []\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        connection.close()
