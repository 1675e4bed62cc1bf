"""The backend of Keras: which one it is, without importing it, which takes seconds."""

import contextlib
import json
import os
import sys
from pathlib import Path

DEFAULT = "tensorflow"


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


def settings_file() -> Path:
    """Return the path of keras.json, which Keras looks for in /tmp if the home folder is read-only."""
    home = os.path.expanduser("~")
    folder = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")  # noqa: S108
    return Path(os.environ.get("KERAS_HOME", folder), "keras.json").expanduser()
