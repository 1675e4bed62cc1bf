"""Some rows of an array on disk, read when they are asked for."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Rows:
    """Rows of `array`, picked and ordered by `index`; only what is sliced is read into memory."""

    array: "npt.NDArray[np.uint8] | Rows"
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: int | slice | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        picked: npt.NDArray[np.uint8] = self.array[self.index[key]]
        return picked


Images = npt.NDArray[np.uint8] | Rows
"""(N, H, W, 3), 0-255, in memory or on disk."""
