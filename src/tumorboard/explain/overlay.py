"""A heat map laid over its image."""

import matplotlib
import numpy as np

from tumorboard.data.pixels import Pixels
from tumorboard.explain.gradcam import Map

_COLOURS = "inferno"  # even steps to the eye, also to a colour-blind one, and in print


def overlay(pixels: Pixels, heat: Map, alpha: float = 0.45) -> Pixels:
    """The image, the more covered in colour the hotter the map.

    Args:
        pixels: uint8 (S, S, 3).
        heat: (S, S), 0 to 1; where it is 0 the image shows as it is.
        alpha: How opaque the hottest place is, 0 to 1.

    Returns:
        uint8 (S, S, 3).
    """
    share = (alpha * heat)[..., None]
    return np.asarray((pixels * (1 - share) + colours(heat) * share).round(), np.uint8)


def colours(heat: Map) -> Pixels:
    """The map alone in colour, uint8 (S, S, 3)."""
    painted = matplotlib.colormaps[_COLOURS](np.asarray(heat, np.float64))
    return np.asarray((painted[..., :3] * 255).round(), np.uint8)
