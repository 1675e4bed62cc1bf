"""ImageNet weights of keras.applications: out of Keras's cache, or from the net."""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keras

from tumorboard.errors import ModelError
from tumorboard.models.catalogue import EMBEDDED

SECONDS_WITHOUT_ANSWER = 20.0


def fetch(name: str, builder: Callable[..., keras.Model], input_shape: tuple[int, int, int]) -> keras.Model:
    """Build a network with its ImageNet weights; Keras checks the file's hash where it knows one.

    Args:
        name: For errors.
        builder: Of keras.applications.
        input_shape: Height, width, 3, known to fit.

    Raises:
        ModelError: The file is damaged, or neither in the cache nor in reach: says what to put where.
    """
    try:
        with _limited_patience(), contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            return builder(weights="imagenet", include_top=False, input_shape=input_shape)
    except Exception as error:  # when a download fails, Keras raises nothing narrower
        raise _unfetched(name, str(error)) from error


@contextlib.contextmanager
def _limited_patience() -> Iterator[None]:
    """Keras sets no limit: a network that drops packets would hold the run for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _unfetched(name: str, error: str) -> ModelError:
    folder = str(Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models")
    reason = " ".join(error.split())
    failure = re.match(r"URL fetch failure on (\S+): (.*)", reason)
    if failure is None:
        return ModelError(
            f"{name}: expected its ImageNet weights in {folder[-50:]} or online, found {reason[:90]!r}; "
            f"repeat, or use the embedded {EMBEDDED}"
        )
    return ModelError(
        f"{name}: no ImageNet weights in {folder[-50:]} or online; put {failure[1]} there, "
        f"or use {EMBEDDED}, embedded and offline",
        [f"folder: {folder}", f"reason: {failure[2]}"],
    )
