"""What the server needs of a board; tests stand in a small one."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from tumorboard import config
from tumorboard.data.pixels import Pixels


class Opinion(Protocol):
    """What the board makes of one image; None where the run has no calibration of that kind."""

    @property
    def probabilities(self) -> Mapping[str, np.ndarray]:
        """Each model's, (C,)."""

    @property
    def calibrated(self) -> np.ndarray | None:
        """The recommended model's, (C,)."""

    @property
    def possible(self) -> np.ndarray | None:
        """The prediction set, bool (C,)."""

    @property
    def abstains(self) -> bool | None:
        """Whether it would rather ask a human."""

    @property
    def unlike(self) -> bool | None:
        """Whether the image is unlike the training images."""


class Board(Protocol):
    """The models of a run, loaded."""

    @property
    def names(self) -> Sequence[str]:
        """Its models."""

    @property
    def recommended(self) -> str:
        """The one whose answer is the board's."""

    @property
    def class_names(self) -> Sequence[str]:
        """In the order of the probabilities."""

    @property
    def image(self) -> config.Image:
        """What the models take."""

    def opinion(self, pixels: Pixels) -> Opinion:
        """Of one image, uint8 (S, S, 3)."""
