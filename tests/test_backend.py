"""The backend that Keras will use is known before Keras is imported."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tumorboard import backend


def named(home: Path, **variables: str) -> str:
    """What a process without Keras says."""
    script = "import sys; from tumorboard import backend; print(backend.name(), 'keras' in sys.modules)"
    environment = {"HOME": str(home), "PYTHONPATH": ":".join(sys.path), **variables}
    answer = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True)
    assert answer.endswith(" False\n")
    return answer.split()[0]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A home folder whose keras.json names another backend."""
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps({"backend": "torch"}))
    return tmp_path


def test_the_variable_comes_before_the_file_and_the_file_before_the_default(
    settings: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    assert named(other) == "tensorflow"
    assert named(settings) == "torch"
    assert named(settings, KERAS_BACKEND="jax") == "jax"
    assert named(settings, KERAS_BACKEND="") == "torch"
    assert named(other, KERAS_HOME=str(settings / ".keras")) == "torch"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"floatx": "float32"}'])
def test_a_file_that_names_none_leaves_the_default(settings: Path, content: str) -> None:
    (settings / ".keras" / "keras.json").write_text(content)
    assert named(settings) == "tensorflow"


def test_once_keras_is_imported_its_own_answer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "nonsense")
    assert backend.name() == keras.backend.backend()
