"""Every run here may ask for the backbone "tiny"; `prepare` refuses names that it does not know."""

from collections.abc import Iterator

import pytest

from tests.small_runs import add_tiny_backbone
from tumorboard.models.backbones import BACKBONES


@pytest.fixture(scope="module", autouse=True)
def tiny_backbone_for_all() -> Iterator[None]:
    add_tiny_backbone()
    yield
    BACKBONES.pop("tiny", None)
