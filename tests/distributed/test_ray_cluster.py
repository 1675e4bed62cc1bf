import pytest

from tumorboard import optional
from tumorboard.cli.main import main
from tumorboard.distributed import ray_cluster


@pytest.mark.parametrize("missing", ["ray", "pyarrow"])
@pytest.mark.parametrize("job", [["train", "--seeds", "2"], ["predict", "s3://scans/archive"]])
def test_without_the_extra_the_flag_says_how_to_install_it(capsys, tmp_path, monkeypatch, job, missing):
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name == missing else name)
    code = main([*job, str(tmp_path), "--out", str(tmp_path / "out"), "--ray", "local"])
    assert code == 2
    command = capsys.readouterr().err.partition("pip install ")[2]
    assert '"ray>=' in command
    assert '"pyarrow>=' in command


def test_ray_that_does_not_start_is_one_line(capsys, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra cluster is not installed")

    def slow(**settings):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", slow)
    assert (
        main(["train", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "2", "--ray", "local"]) == 2
    )
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "repeat the command" in said


def test_what_results_depend_on_is_passed_on(monkeypatch):
    monkeypatch.setattr("tumorboard.backend.name", lambda: "jax")
    monkeypatch.setenv("SECRET", "x")
    passed = ray_cluster.runtime_environment()["env_vars"]
    assert passed["KERAS_BACKEND"] == "jax"
    assert "SECRET" not in passed


def test_nobody_at_the_address_is_one_line(capsys, tmp_path):
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    command = ["train", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "2", "--ray", "?no address"]
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
