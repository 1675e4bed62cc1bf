"""The backend of Keras, known without its import, which takes seconds, and the global settings of Keras."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from tumorboard.errors import UsageError

DEFAULT = "tensorflow"
_BACKENDS = (DEFAULT, "jax", "torch")  # Keras's others cannot train, and OpenVINO computes in half precision

SETTINGS = {
    "floatx": "float32",
    "dtype_policy": "float32",
    "image_data_format": "channels_last",
    "epsilon": 1e-7,
    "max_epochs": None,
    "max_steps_per_epoch": None,
}
"""Keras's global settings that results depend on, and the values that all models are made with."""


def use_settings() -> None:
    """Set `SETTINGS` for this process, whatever keras.json, variables or the calling program have set.

    Raises:
        UsageError: A backend that cannot train.
    """
    import keras

    if name() not in _BACKENDS:
        raise UsageError(
            f"expected one of the Keras backends {', '.join(_BACKENDS)}, found {name()[:40]!r}, "
            "which cannot train; set KERAS_BACKEND=tensorflow"
        )
    for setting, value in SETTINGS.items():
        getattr(keras.config, f"set_{setting}")(value)


def name() -> str:
    """Return the backend that Keras uses, or will use once it is imported.

    As in Keras: that of the variable KERAS_BACKEND, else that of keras.json in the folder KERAS_HOME or
    `~/.keras`, else TensorFlow.
    """
    if "keras" in sys.modules:
        import keras

        return str(keras.backend.backend())
    chosen = os.environ.get("KERAS_BACKEND", "")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        chosen = chosen or str(json.loads(settings_file().read_text("utf-8")).get("backend", ""))
    return chosen or DEFAULT


def device() -> str:
    """Return what networks are computed on: "cpu", or the names of the GPUs; this loads the backend."""
    import keras

    module: Any = sys.modules[name()]
    if name() == "torch":
        kind = keras.ops.zeros(1).device.type
        if kind != "cuda":
            return str(kind)
        names = [module.cuda.get_device_name(number) for number in range(module.cuda.device_count())]
    elif name() == "jax":
        names = [device.device_kind for device in module.devices() if device.platform != "cpu"]
    else:
        gpus = module.config.list_physical_devices("GPU")
        details = [module.config.experimental.get_device_details(gpu) for gpu in gpus]
        names = [detail.get("device_name", "GPU") for detail in details]
    return ", ".join(names) or "cpu"


def settings_file() -> Path:
    """Return the path of keras.json, which Keras looks for in /tmp if the home folder is read-only."""
    home = os.path.expanduser("~")
    folder = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")  # noqa: S108
    return Path(os.environ.get("KERAS_HOME", folder), "keras.json").expanduser()
