"""Measure how many channels of a network's last feature map are constant over the image.

    python experiments/feature_maps.py RUN/models/pretrained.keras IMAGE...

A channel with one value at every position, such as a ReLU6 saturated at 0 or at 6, cannot localise
anything. Many such channels make heat maps flat and are a sign of too high a learning rate.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import tumorboard as tb
from tumorboard.models.model_spec import tap, taps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    options = parser.parse_args()
    model, spec = tb.load_model(options.model)
    pixels = np.stack([tb.read_input(path, spec.image) for path in options.images])
    print(f"the same at every place: {still(model, pixels):.1%} of the channels, {len(pixels)} images")


def still(model: keras.Model, pixels: np.ndarray) -> float:
    """Return the mean share of channels that are constant over an image; of the first map of a composite."""
    first = (taps(model, "feature_map") or [tap(model, "feature_map")])[0]
    maps = keras.Model(model.input, first).predict(pixels, verbose=0)
    return float(np.mean(np.ptp(maps, axis=(1, 2)) < 1e-6))


if __name__ == "__main__":
    main()
