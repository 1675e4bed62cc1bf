"""Pictures for the page: PNG, as text that JSON can carry."""

import base64
import io

from PIL import Image

from tumorboard.data.pixels import Pixels


def png(pixels: Pixels) -> str:
    """Base64 of a PNG of uint8 pixels, (H, W, 3) or (H, W, 4)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode("ascii")
