"""Occlusion sensitivity: how much the log-odds of a class fall when a part of the image is hidden.

M. Zeiler and R. Fergus, ECCV 2014, 818-833. It needs no gradient and tests the whole network as it predicts,
so it can confirm Grad-CAM. It is slower by the number of parts, and blind to evidence that is there twice.
"""

import keras
import numpy as np

from tumorboard.data.pixels import Pixels
from tumorboard.explain.gradcam import Map
from tumorboard.models.inference import probabilities

_STEPS = 8
"""Positions of the square along each side; it covers two steps."""
_TINY = 1e-30


def heat_map(model: keras.Model, pixels: Pixels, target: int | None = None) -> Map:
    """Compute how much the log-odds of a class fall when a square is painted in the image's mean colour.

    Args:
        model: A model that matches its specification.
        pixels: uint8 (S, S, 3), as from `read_input`.
        target: The class number; by default the predicted class.

    Returns:
        (S, S), 0 to 1, the mean fall over the squares that cover a pixel; all 0 where no square lowers them.
    """
    before = probabilities(model, pixels[None])[0]
    target = int(before.argmax()) if target is None else target
    edges = np.linspace(0, len(pixels), _STEPS + 1).round().astype(int).tolist()
    spans = [slice(start, end) for start, end in zip(edges, edges[2:], strict=False)]
    squares = [(rows, columns) for rows in spans for columns in spans]
    painted = np.stack([pixels] * len(squares))
    for image, square in zip(painted, squares, strict=True):
        image[square] = pixels.mean((0, 1)).round()
    after = probabilities(model, painted)
    falls = np.maximum(_log_odds(before[None], target) - _log_odds(after, target), 0)
    total, count = np.zeros((2, *pixels.shape[:2]), np.float32)
    for square, fall in zip(squares, falls, strict=True):
        total[square] += fall
        count[square] += 1
    mean = total / count
    return np.asarray(mean / mean.max() if mean.max() > 0 else mean, np.float32)


def _log_odds(rows: np.ndarray, target: int) -> np.ndarray:
    others = np.delete(rows, target, axis=1).sum(axis=1)
    return np.asarray(np.log(rows[:, target] + _TINY) - np.log(others + _TINY))
