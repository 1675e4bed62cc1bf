"""SAMME: softmax heads trained in sequence, each on the errors of those before it.

J. Zhu, H. Zou, S. Rosset and T. Hastie, Statistics and Its Interface 2 (2009) 349-360. The heads see the
members' embeddings of images that no member learnt from: of its training images a member knows the answers by
heart, and the first head would already make no error.
"""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from tumorboard.data.image_cache import Images
from tumorboard.ensembles import combination
from tumorboard.ensembles.combination import CombinationRule
from tumorboard.errors import TrainingError
from tumorboard.models.inference import probabilities  # of any vector, an image a call
from tumorboard.models.model_spec import ModelSpec, embedding_model

HEADS = 10
"""At most; a head without error, or one that is no better than chance, ends the sequence."""

_WEAK = 0.01  # C of a head: weak on purpose, or a few dozen images are told apart without error at once


def embed(members: Sequence[tuple[keras.Model, ModelSpec]], images: Images) -> npt.NDArray[np.float64]:
    """The members' embeddings side by side, (N, D), of images (N, H, W, 3) uint8."""
    return np.concatenate([probabilities(embedding_model(model), images) for model, _ in members], axis=1)


def fit(features: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], classes: int) -> CombinationRule:
    """The heads and what each one's vote weighs.

    Args:
        features: (N, D) embeddings of images that no member learnt from.
        labels: (N,).
        classes: How many there are.

    Returns:
        T heads: `weights` (T,), `kernel` (D, T * classes), `bias` (T * classes).

    Raises:
        TrainingError: The first head is no better than chance, or one class is all there is.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    shares, found = np.full(len(labels), 1.0), []
    for _ in range(HEADS if len(set(labels.tolist())) > 1 else 0):
        kernel, bias = combination.fit_head(
            (features - mean) / deviation, labels, classes, C=_WEAK, shares=shares
        )
        kernel = kernel / deviation[:, None]
        bias = bias - mean @ kernel
        missed = (features @ kernel + bias).argmax(axis=1) != labels
        error = float(shares[missed].sum() / shares.sum())
        if error > 1 - 1 / classes - 1e-9:
            break
        floor = 0.5 / len(labels)  # of no error the weight would be infinite
        say = float(np.log((1 - error) / max(error, floor)) + np.log(classes - 1))
        found.append((say, kernel, bias))
        if not error:
            break
        shares = shares * np.exp(say * missed)
        shares /= shares.mean()
    if not found:
        raise TrainingError(
            f"expected a head better than chance on {len(labels)} validation images of {classes} classes, "
            'found none to boost; choose another form, such as ensemble.form = "mean"'
        )
    says, kernels, biases = zip(*found, strict=True)
    kernel, bias = np.concatenate(kernels, axis=1), np.concatenate(biases)
    return CombinationRule("boosted", says, tuple(map(tuple, kernel.tolist())), tuple(bias.tolist()))
