"""Compute heat maps in a process of its own: `python -m tumorboard.server.heat_worker`.

Keras and a network take 0.75 GB; the machine gets them back when this process ends.
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tumorboard.data import sandbox
from tumorboard.errors import TumorboardError
from tumorboard.run_folder import RunFolder

if TYPE_CHECKING:
    import keras


def main() -> None:
    """Answer requests until standard input ends."""
    sandbox.answer_all(_answer)


def _answer(request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    pixels = np.frombuffer(content, np.uint8).reshape(request["shape"])
    try:
        network = _network(request["run"], request["model"], tuple(request["hashes"].items()))
    except TumorboardError as error:
        return {"error": str(error)}, b""
    from tumorboard.explain import gradcam, overlay  # which import Keras

    heat = gradcam.heat_map(network, pixels, request["target"])
    layer = np.dstack([overlay.colours(heat), (255 * heat).round().astype(np.uint8)])
    return {"shape": layer.shape}, layer.tobytes()


@functools.cache
def _network(run: str, name: str, hashes: tuple[tuple[str, str], ...]) -> "keras.Model":
    from tumorboard.workflows.predictor import load_networks

    return load_networks(RunFolder(Path(run)), dict(hashes), [name])[name][0]


if __name__ == "__main__":
    main()
