"""Whether a map depends on what the network learned (J. Adebayo and others, NeurIPS 31 (2018) 9505-9515).

A map that stays the same when the weights are shuffled shows the image, not the network.
"""

import keras
import numpy as np
from scipy import stats

from tumorboard.data.pixels import Pixels
from tumorboard.explain import gradcam
from tumorboard.models.model_spec import ModelSpec


def correlation_after_shuffling(
    model: keras.Model, spec: ModelSpec, pixels: Pixels, target: int, seed: int = 0
) -> float:
    """How alike the Grad-CAM maps of a model and of a copy with shuffled weights are.

    Args:
        model: As for `gradcam.heat_map`.
        spec: As for `gradcam.heat_map`.
        pixels: As for `gradcam.heat_map`.
        target: The class that both explain.
        seed: Of the shuffling.

    Returns:
        Spearman's rank correlation, -1 to 1; near 1 is a warning. 0 if one of the maps is flat.
    """
    maps = [gradcam.heat_map(one, spec, pixels, target) for one in (model, shuffled(model, seed))]
    if any(np.ptp(one) == 0 for one in maps):
        return 0.0
    return float(stats.spearmanr(*(one.ravel() for one in maps)).statistic)


def shuffled(model: keras.Model, seed: int = 0) -> keras.Model:
    """A copy in which each array of weights has its values in another order."""
    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(model)
    copy.set_weights([rng.permutation(one.ravel()).reshape(one.shape) for one in model.get_weights()])
    return copy
