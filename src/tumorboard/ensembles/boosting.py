"""SAMME: softmax heads trained in sequence, each on the errors of those before it.

J. Zhu, H. Zou, S. Rosset and T. Hastie, Statistics and Its Interface 2 (2009) 349-360. The heads take the
members' embeddings of images that no member was trained on: a member has memorised its training images, so
that the first head would already make no error on them.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tumorboard.data.image_cache import Images
from tumorboard.ensembles import combination
from tumorboard.ensembles.combination import CombinationRule
from tumorboard.errors import TrainingError
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import LoadedModel, embedding_model

HEADS = 10
"""Maximal number; a head without error, or one that is no better than chance, ends the sequence."""

_WEAK = 0.01  # C of a head: weak on purpose, for a strong one separates a few dozen images without error


def embed(members: Sequence[LoadedModel], images: Images) -> npt.NDArray[np.float64]:
    """Concatenate the members' embeddings, (N, D), of images (N, H, W, 3) uint8."""
    return np.concatenate([probabilities(embedding_model(model), images) for model, _ in members], axis=1)


def fit(features: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], classes: int) -> CombinationRule:
    """Fit the heads and the weights of their votes.

    Args:
        features: (N, D) embeddings of images that no member was trained on.
        labels: (N,) class numbers.
        classes: Number of classes.

    Returns:
        T heads: `weights` (T,), `kernel` (D, T * classes), `bias` (T * classes).

    Raises:
        TrainingError: The first head is no better than chance, or there is one class only.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    sample_weights = np.full(len(labels), 1.0)
    weights, kernels, biases = [], [], []
    for _ in range(HEADS if len(set(labels.tolist())) > 1 else 0):
        kernel, bias = combination.fit_softmax(
            (features - mean) / deviation, labels, classes, C=_WEAK, sample_weights=sample_weights
        )
        kernel = kernel / deviation[:, None]
        bias = bias - mean @ kernel
        is_wrong = (features @ kernel + bias).argmax(axis=1) != labels
        error = float(sample_weights[is_wrong].sum() / sample_weights.sum())
        if error > 1 - 1 / classes - 1e-9:
            break
        floor = 0.5 / len(labels)  # without error the weight would be infinite
        weight = float(np.log((1 - error) / max(error, floor)) + np.log(classes - 1))
        weights.append(weight)
        kernels.append(kernel)
        biases.append(bias)
        if not error:
            break
        sample_weights = sample_weights * np.exp(weight * is_wrong)
        sample_weights /= sample_weights.mean()
    if not weights:
        raise TrainingError(
            f"expected a head better than chance on {len(labels)} validation images of {classes} classes, "
            'found none to boost; choose another form, such as ensemble.form = "mean"'
        )
    kernel, bias = np.concatenate(kernels, axis=1), np.concatenate(biases)
    return CombinationRule(
        "boosted", tuple(weights), tuple(map(tuple, kernel.tolist())), tuple(bias.tolist())
    )
