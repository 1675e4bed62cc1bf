import pytest

from tumorboard.cli.main import main
from tumorboard.cluster import connecting


def test_without_the_extra_the_flag_says_how_to_install_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(connecting, "find_spec", lambda name: None)
    code = main(["train", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "2", "--ray", "local"])
    assert code == 2
    assert 'pip install "tumorboard[cluster]"' in capsys.readouterr().err


def test_what_results_depend_on_is_passed_on(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("SECRET", "x")
    passed = connecting.environment()["env_vars"]
    assert passed["KERAS_BACKEND"] == "jax"
    assert "SECRET" not in passed


def test_nobody_at_the_address_is_one_line(capsys, tmp_path):
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    command = ["train", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "2", "--ray", "?no address"]
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
