"""Sanity check of heat maps by weight randomization (J. Adebayo et al., NeurIPS 31 (2018) 9505-9515).

A map that stays the same when the weights are shuffled shows the image, not what the network learned.
"""

import keras
import numpy as np
from scipy import stats

from tumorboard.data.pixels import Pixels
from tumorboard.explain import gradcam


def correlation_after_shuffling(model: keras.Model, pixels: Pixels, target: int, seed: int = 0) -> float:
    """Correlate the Grad-CAM maps of a model and of a copy with shuffled weights.

    Args:
        model: As for `gradcam.heat_map`.
        pixels: As for `gradcam.heat_map`.
        target: The class number that both explain.
        seed: Seed of the shuffling.

    Returns:
        Spearman's rank correlation, -1 to 1; near 1 is a warning. 0 if one of the maps is constant.
    """
    maps = [gradcam.heat_map(network, pixels, target) for network in (model, shuffled(model, seed))]
    if any(np.ptp(heat) == 0 for heat in maps):
        return 0.0
    return float(stats.spearmanr(*(heat.ravel() for heat in maps)).statistic)


def shuffled(model: keras.Model, seed: int = 0) -> keras.Model:
    """Copy a model with the values of each weight array in random order."""
    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(model)
    copy.set_weights([rng.permutation(array.ravel()).reshape(array.shape) for array in model.get_weights()])
    return copy
