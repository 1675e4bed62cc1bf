"""Open a run for serving: models loaded and tried once, so that the first visitor does not wait."""

from pathlib import Path

import numpy as np

from tumorboard.data.pixels import Pixels
from tumorboard.explain import overlay
from tumorboard.run_folder import RunFolder
from tumorboard.serving.facts import accuracies
from tumorboard.serving.house import House
from tumorboard.workflows.predictor import open_board


def open_house(path: Path) -> House:
    """The models of a finished run, and what the page says of them.

    Raises:
        RunFolderError: No finished run.
        ModelError: A model that is not what was trained, or cannot be loaded.
    """
    run = RunFolder(path)
    facts = accuracies(run)
    board = open_board(path)
    board.opinion(np.zeros((board.image.size, board.image.size, 3), np.uint8))

    def heat_layer(name: str, pixels: Pixels, target: int) -> Pixels:
        heat = board.heat_map(name, pixels, target)
        return np.dstack([overlay.colours(heat), (255 * heat).round().astype(np.uint8)])

    return House(board, heat_layer, facts, run)
