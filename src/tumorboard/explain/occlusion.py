"""Where a network looks, without any gradient: hide a part of the image, and see what the answer loses.

M. Zeiler and R. Fergus, ECCV 2014, 818-833. Slower than Grad-CAM by the number of parts, and blind to what is
shown twice; but it asks the whole network, as it answers, so it checks the other.
"""

import keras
import numpy as np

from tumorboard.data.pixels import Pixels
from tumorboard.explain.gradcam import Map
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import ModelSpec

_STEPS = 8
"""Places of the patch along each side; it covers two steps."""
_TINY = 1e-30


def heat_map(model: keras.Model, spec: ModelSpec, pixels: Pixels, target: int | None = None) -> Map:
    """How much the log-odds of the class fall when a square is painted in the image's mean colour.

    Args:
        model: Any model of ours.
        spec: Its spec.
        pixels: uint8 (S, S, 3), as `read_input` gives them.
        target: The class; by default the one that the model answers.

    Returns:
        (S, S), 0 to 1, the mean fall over the squares that cover a pixel; all 0 where hiding never hurts.
    """
    before = probabilities(model, pixels[None])[0]
    target = int(before.argmax()) if target is None else target
    squares = _squares(len(pixels))
    after = probabilities(model, np.stack([_without(pixels, *square) for square in squares]))
    falls = np.maximum(_log_odds(before[None], target) - _log_odds(after, target), 0)
    total, seen = np.zeros((2, *pixels.shape[:2]), np.float32)
    for (rows, columns), fall in zip(squares, falls, strict=True):
        total[rows, columns] += fall
        seen[rows, columns] += 1
    mean = total / seen
    return np.asarray(mean / mean.max() if mean.max() > 0 else mean, np.float32)


def _squares(size: int) -> list[tuple[slice, slice]]:
    edges = np.linspace(0, size, _STEPS + 1).round().astype(int).tolist()
    spans = [slice(start, end) for start, end in zip(edges, edges[2:], strict=False)]
    return [(rows, columns) for rows in spans for columns in spans]


def _without(pixels: Pixels, rows: slice, columns: slice) -> Pixels:
    painted = pixels.copy()
    painted[rows, columns] = pixels.mean((0, 1)).round()
    return painted


def _log_odds(rows: np.ndarray, target: int) -> np.ndarray:
    others = np.delete(rows, target, axis=1).sum(axis=1)
    return np.asarray(np.log(rows[:, target] + _TINY) - np.log(others + _TINY))
