import warnings

import pytest
from PIL import Image

from tumorboard.data.pixels import readers_quiet


def test_pillows_warnings_are_kept_away_and_others_are_not():
    with readers_quiet():
        Image._decompression_bomb_check((10_000, 10_000))
        with pytest.warns(UserWarning, match="mine"):
            warnings.warn("mine", stacklevel=1)
    with pytest.warns(Image.DecompressionBombWarning):
        Image._decompression_bomb_check((10_000, 10_000))


def test_the_last_reader_restores_the_filters():
    before = list(warnings.filters)
    first, second = readers_quiet(), readers_quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    Image._decompression_bomb_check((10_000, 10_000))
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before
