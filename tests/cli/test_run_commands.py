"""Commands for finished runs; what they compute is tested with the workflows."""

import subprocess
import sys

import pytest

from tumorboard.cli.main import main


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
