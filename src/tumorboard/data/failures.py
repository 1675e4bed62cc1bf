"""What decoders raise on damaged files, most of it by accident of where the damage lies."""

import struct
import zlib

from PIL import Image

FAILURES = (
    OSError,  # also UnidentifiedImageError: truncated or unknown
    SyntaxError,  # broken PNG chunks, TIFF headers
    EOFError,
    ValueError,  # also UnicodeDecodeError; text chunks that inflate too far
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,  # OverflowError, ZeroDivisionError
    MemoryError,
    BufferError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
