import json

import pytest

from tumorboard import optional
from tumorboard.cli.main import main
from tumorboard.errors import DataError
from tumorboard.workflows import datasets as story


def test_the_licence_is_shown_and_where_the_images_are(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(story, "fetch", lambda out, console: out)
    monkeypatch.setattr(optional, "find_spec", lambda name: True)
    assert main(["fetch", "chest-ct", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert story.LICENCE in text
    assert text.endswith(f"Images: {tmp_path}\n")
    assert main(["fetch", "chest-ct", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"data": str(tmp_path), "licence": story.LICENCE}


def test_offline_it_says_what_to_do(monkeypatch, capsys):
    def offline(out, console):
        raise story._by_hand("no route to host")

    monkeypatch.setattr(story, "fetch", offline)
    monkeypatch.setattr(optional, "find_spec", lambda name: True)
    assert main(["fetch", "chest-ct"]) == DataError.exit_code
    assert story.PAGE in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    assert main(["fetch", "chest-ct"]) == 2
    assert 'pip install "kagglehub>=' in capsys.readouterr().err


def test_other_names_are_refused():
    with pytest.raises(SystemExit):
        main(["fetch", "another"])
