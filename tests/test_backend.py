"""The backend that Keras will use is known before Keras is imported."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests.small_models import CUT, NOTEBOOK, RESIDUAL, chained, joined, member, pixels
from tumorboard import backend
from tumorboard.errors import UsageError
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.training import fit


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


OTHERS = {
    "floatx": "float16",
    "dtype_policy": "mixed_float16",
    "image_data_format": "channels_first",
    "epsilon": 0.1,
    "max_epochs": 1,
    "max_steps_per_epoch": 1,
}


def test_settings_of_the_user_do_not_reach_our_models() -> None:
    for setting, value in OTHERS.items():
        getattr(keras.config, f"set_{setting}")(value)
    fit.prepare_backend(0, 0)
    assert keras.config.dtype_policy().name == "float32"
    for setting in OTHERS.keys() - {"dtype_policy"}:
        assert getattr(keras.config, setting)() == backend.SETTINGS[setting]


@pytest.mark.parametrize("other", ["numpy", "openvino"])
def test_a_backend_that_cannot_train_is_refused(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setattr(backend, "name", lambda: other)
    with pytest.raises(UsageError, match=f"found '{other}', which cannot train; set KERAS_BACKEND"):
        backend.use_settings()


def devices_of_torch(count: int) -> SimpleNamespace:
    return SimpleNamespace(
        cuda=SimpleNamespace(device_count=lambda: count, get_device_name=lambda number: f"card {number}")
    )


def devices_of_jax(*platforms: str) -> SimpleNamespace:
    found = [SimpleNamespace(platform=name, device_kind=f"{name} card") for name in platforms]
    return SimpleNamespace(devices=lambda: found)


def devices_of_tensorflow(*names: str) -> SimpleNamespace:
    details = SimpleNamespace(get_device_details=lambda gpu: {"device_name": gpu})
    listed = SimpleNamespace(list_physical_devices=lambda kind: list(names), experimental=details)
    return SimpleNamespace(config=listed)


@pytest.mark.parametrize(
    ("name", "module", "expected"),
    [
        ("torch", devices_of_torch(2), "card 0, card 1"),
        ("jax", devices_of_jax("gpu"), "gpu card"),
        ("jax", devices_of_jax("cpu", "cpu"), "cpu"),
        ("tensorflow", devices_of_tensorflow("a", "b"), "a, b"),
        ("tensorflow", devices_of_tensorflow(), "cpu"),
    ],
)
def test_the_device_is_named_as_its_backend_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, module: SimpleNamespace, expected: str
) -> None:
    on_cuda = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, name, module)
        patch.setattr(backend, "name", lambda: name)
        patch.setattr(keras.ops, "zeros", lambda count: on_cuda)
        found = backend.device()
    assert found == expected


def test_the_device_of_this_machine_is_named() -> None:
    assert backend.device()


PREDICT = """
import sys
from pathlib import Path

import keras
import numpy as np

from tumorboard.models import saving
from tumorboard.models.inference import probabilities

folder, backend = Path(sys.argv[1]), sys.argv[2]
assert keras.backend.backend() == backend
images = np.load(folder / "images.npy")
for path in sorted(folder.glob("*.keras")):
    np.save(folder / f"{path.stem}-{backend}.npy", probabilities(saving.load(path)[0], images))
assert backend == "tensorflow" or "tensorflow" not in sys.modules, "TensorFlow is needed"
"""


@pytest.mark.parametrize("other", ["tensorflow", "jax", "torch"])
def test_a_saved_model_predicts_the_same_on_another_backend(tmp_path: Path, other: str) -> None:
    if other == keras.backend.backend() or importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is this backend, or not installed")
    links = [member("pretrained", CUT), member("custom", RESIDUAL), member("notebook", NOTEBOOK)]
    members = [
        *links,
        joined("ensemble", links, "mean"),
        joined("stacked", links, "concat_dense"),
        chained("chained", links[:1]),
    ]
    rng = np.random.default_rng(0)
    images = pixels(6)
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for model, spec in members:  # random biases and norms too, and predictions that differ by class
        model.set_weights(
            [w + rng.uniform(0, 0.3, w.shape) if w.dtype.kind == "f" else w for w in model.get_weights()]
        )
        saving.save(model, spec, tmp_path / f"{model.name}.keras")
        expected[model.name] = probabilities(model, images)
    environment = {**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, "-c", PREDICT, str(tmp_path), other], check=True, env=environment, timeout=600
    )
    for name, rows in expected.items():
        assert np.ptp(rows, axis=1).min() > 0.05, name
        found = np.load(tmp_path / f"{name}-{other}.npy")
        np.testing.assert_allclose(found, rows, atol=1e-5, rtol=0, err_msg=name)
