"""Heat maps in colour, alone and laid over their image."""

import matplotlib
import numpy as np

from tumorboard.data.pixels import Pixels
from tumorboard.explain.gradcam import Map

_COLOUR_MAP = "inferno"  # perceptually uniform, also for colour-blind readers and in print


def overlay(pixels: Pixels, heat: Map, alpha: float = 0.45) -> Pixels:
    """Cover the image with colour in proportion to the heat map.

    Args:
        pixels: uint8 (S, S, 3).
        heat: (S, S), 0 to 1; where it is 0 the image is unchanged.
        alpha: Opacity where the map is 1, from 0 to 1.

    Returns:
        uint8 (S, S, 3).
    """
    share = (alpha * heat)[..., None]
    return np.asarray((pixels * (1 - share) + colours(heat) * share).round(), np.uint8)


def colours(heat: Map) -> Pixels:
    """Colour the map alone, uint8 (S, S, 3)."""
    rgba = matplotlib.colormaps[_COLOUR_MAP](np.asarray(heat, np.float64))
    return np.asarray((rgba[..., :3] * 255).round(), np.uint8)
