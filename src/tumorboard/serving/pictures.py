"""Pictures for the page: PNG, as text that JSON can carry."""

import base64
import io

import numpy as np
from PIL import Image

from tumorboard.data.modes import Pixels

# Dark red to pale yellow: the order is seen by the colour-blind, and by everyone on grey.
_STOPS = (0.0, 0.5, 1.0)
_COLOURS = ((120, 0, 40), (240, 90, 20), (255, 240, 120))


def png(pixels: Pixels) -> str:
    """Base64 of a PNG of uint8 pixels, (H, W, 3) or (H, W, 4)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode("ascii")


def coloured(heat: np.ndarray) -> Pixels:
    """A heat map, (H, W) 0-1, as a layer to lay over the image: RGBA, clear where it is cold."""
    heat = np.clip(heat, 0, 1)
    channels = [np.interp(heat, _STOPS, [colour[c] for colour in _COLOURS]) for c in range(3)]
    return np.stack([*channels, 255 * heat], axis=-1).round().astype(np.uint8)
