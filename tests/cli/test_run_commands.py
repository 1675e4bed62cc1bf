"""Commands for finished runs; what they compute is tested with the workflows."""

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tumorboard.cli.main import main
from tumorboard.cli.options import named_images
from tumorboard.cli.run_commands import _token
from tumorboard.errors import DataError


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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a.png\nsub\\b c.png\r\n\n", ["a.png", "sub/b c.png"]),
        (b"s3://bucket/scans\nfolder\n", ["s3://bucket/scans", "folder"]),
        (b"path,label\na.png,x\n", ["a.png"]),
        ("a.png\r\nb.png".encode("utf-16"), ["a.png", "b.png"]),
        (b"latin-\xe9.png\n", [os.fsdecode(b"latin-\xe9.png")]),
    ],
)
def test_images_are_named_on_standard_input(monkeypatch, content, expected):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    images = named_images(argparse.Namespace(images=[Path("first.png"), Path("-")]))
    assert list(map(str, images)) == ["first.png", *expected]


@pytest.mark.parametrize(
    ("content", "match"), [(b"\n", "found nothing"), (b"a.png\0b.png\0", "a NUL character")]
)
def test_standard_input_without_a_list_is_refused(monkeypatch, content, match):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(DataError, match=match):
        named_images(argparse.Namespace(images=["-"]))
    monkeypatch.setattr("sys.stdin", None)  # closed
    with pytest.raises(DataError, match="found nothing"):
        named_images(argparse.Namespace(images=["-"]))


def test_a_folder_that_is_no_run_is_one_line(capsys, tmp_path):
    code, text = refusal(capsys, tmp_path, "--port", 0)
    assert code == 6
    assert text.count("\n") == 1


def test_help_of_serve_has_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "curl --data-binary" in capsys.readouterr().out


@pytest.mark.parametrize("command", [("predict", "image.png"), ("explain", "image.png", "--out", "maps")])
def test_wrong_arguments_are_refused_before_tensorflow_is_imported(tmp_path, command):
    script = "import sys; from tumorboard.cli.main import main; code = main(sys.argv[1:]); "
    script += "sys.exit(99 if 'keras' in sys.modules else code)"
    name, *others = command
    ran = subprocess.run(
        [sys.executable, "-c", script, name, tmp_path, *others], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 6
    assert ran.stderr.startswith("tumorboard: expected a finished run")
