"""Heat maps in colour, alone and laid over their image."""

import matplotlib
import numpy as np
from PIL import Image

from tumorboard import config
from tumorboard.data.pixels import Pixels
from tumorboard.explain.gradcam import Map

_COLOUR_MAP = "inferno"  # perceptually uniform, also for colour-blind readers and in print


def overlay(pixels: Pixels, heat: Map, alpha: float = 0.45) -> Pixels:
    """Cover the image with colour in proportion to the heat map.

    Args:
        pixels: uint8 (H, W, 3).
        heat: (H, W), 0 to 1; where it is 0 the image is unchanged.
        alpha: Opacity where the map is 1, from 0 to 1.

    Returns:
        uint8 (H, W, 3).
    """
    share = (alpha * heat)[..., None]
    return np.asarray((pixels * (1 - share) + colours(heat) * share).round(), np.uint8)


def in_picture(heat: Map, shape: tuple[int, int], settings: config.Image) -> Map:
    """Undo the resizing of `image_reader.to_input`: bring a map of the network's input to a picture's shape.

    Args:
        heat: (S, S), 0 to 1.
        shape: Height and width of the picture, or of a smaller or larger copy of it.
        settings: How the picture was resized to the network's input.

    Returns:
        (height, width), 0 to 1.
    """
    height, width = shape
    image = Image.fromarray(np.asarray(heat, np.float32))
    box = (0, 0, *image.size)
    if settings.resize == "pad":
        scale = len(heat) / max(height, width)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (image.width - inner[0]) // 2, (image.height - inner[1]) // 2
        box = (left, top, left + inner[0], top + inner[1])
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box))


def colours(heat: Map) -> Pixels:
    """Colour the map alone, uint8 (H, W, 3)."""
    rgba = matplotlib.colormaps[_COLOUR_MAP](np.asarray(heat, np.float64))
    return np.asarray((rgba[..., :3] * 255).round(), np.uint8)
