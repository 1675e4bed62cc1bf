import pytest

from tumorboard import optional
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


def test_without_the_extra_it_says_how_to_install_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    code, text = refusal(capsys, tmp_path)
    assert code == 2
    assert 'pip install "fastapi>=' in text


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "curl --data-binary" in capsys.readouterr().out
