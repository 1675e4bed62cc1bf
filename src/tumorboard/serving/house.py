"""What the routes share: the board, the decoders, the queue."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request

from tumorboard import config
from tumorboard.config import Image
from tumorboard.data.pixels import Pixels
from tumorboard.data.sandbox import SandboxPool
from tumorboard.run_folder import RunFolder
from tumorboard.serving.board import Board
from tumorboard.serving.bodies import Desk, receive
from tumorboard.serving.decoding import Upload, decode, decoders
from tumorboard.serving.facts import Accuracy

T = TypeVar("T")
_NUMBER = r"[0-9]{0,4}(\.[0-9]{1,3})?"
WINDOW = f"^(as-trained|file|{'|'.join(config.PRESETS)}|-?[0-9]{_NUMBER},[1-9]{_NUMBER})$"
"""What may be asked for; of CENTER,WIDTH the width is 1 or more, as in DICOM."""

HeatLayer = Callable[[str, Pixels, int], Pixels]


@dataclass
class House:
    """What the routes share; the models run in one thread, one image after the other.

    Args:
        board: The models.
        heat_layer: Where the named model looked for that class in an image, uint8 (S, S, 3): colours to lay
            over it, uint8 (S, S, 4), clear where nothing speaks for the class.
        accuracies: Of each model on test.
        run: The run folder, for its report.
    """

    board: Board
    heat_layer: HeatLayer
    accuracies: dict[str, list[Accuracy]]
    run: RunFolder
    desk: Desk = field(default_factory=Desk)
    decoders: SandboxPool = field(default_factory=decoders)
    decoding: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    thinking: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    async def upload(self, request: Request, window: str) -> Upload:
        """The request's file, decoded."""
        rule = windowed(self.board.image, window)
        content = await receive(request)
        return await run_in(self.decoding, lambda: decode(self.decoders, content, rule))

    def close(self) -> None:
        """After the last answer."""
        self.decoding.shutdown()
        self.thinking.shutdown()
        self.decoders.close()


def windowed(rule: Image, window: str) -> Image:
    """The rule that the models were trained with, but for the window, one that matches `WINDOW`."""
    if window == "as-trained":
        return rule
    return rule.model_copy(update={"window": "" if window == "file" else window})


async def run_in(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """Work that would hold up everybody else, in a thread of that pool."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)
