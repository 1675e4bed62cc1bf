"""From pixels of any size to the square that a network takes."""

import numpy as np
from PIL import Image

from tumorboard import recipe
from tumorboard.data.modes import Pixels

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def to_input(image: Pixels, rule: recipe.Image) -> Pixels:
    """Resize to the network's input, antialiased: stretched, or padded with black around the centre.

    Args:
        image: uint8 (H, W, 3), 0-255.
        rule: Size, way of resizing and filter.

    Returns:
        uint8 (size, size, 3), 0-255.
    """
    height, width = image.shape[:2]
    if rule.resize == "stretch":
        return _resized(image, rule.size, rule.size, rule.interpolation)
    scale = rule.size / max(height, width)
    inner = _resized(image, max(1, round(height * scale)), max(1, round(width * scale)), rule.interpolation)
    padded = np.zeros((rule.size, rule.size, 3), np.uint8)
    top, left = (rule.size - inner.shape[0]) // 2, (rule.size - inner.shape[1]) // 2
    padded[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return padded


def _resized(image: Pixels, height: int, width: int, interpolation: str) -> Pixels:
    return np.array(Image.fromarray(image).resize((width, height), _FILTERS[interpolation]))
