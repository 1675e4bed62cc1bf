"""Scores of parts of the samples: of given ids, and of every value of a metadata column."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import scipy

from tumorboard.evaluation.scores import Scores, score
from tumorboard.evaluation.significance import holm
from tumorboard.predictions import Predictions

MIN_SUBGROUP_SIZE = 20
"""Smaller subgroups are hidden: their figures are noise, and may identify a person."""


@dataclass(frozen=True)
class Subgroup:
    """The samples with one value of a column.

    Attributes:
        column: The column.
        value: Its value; "" if it is missing.
        scores: Of these samples.
        p: Of `accuracy_versus_rest`; None if there are no other samples.
        p_holm: Corrected for all subgroups of all columns.
    """

    column: str
    value: str
    scores: Scores
    p: float | None
    p_holm: float | None


def subset(predictions: Predictions, ids: Collection[str]) -> Predictions:
    """Return the samples of these ids in their present order; ids that do not occur are ignored."""
    wanted = set(ids)
    return predictions.take(np.flatnonzero([sample in wanted for sample in predictions.ids]))


def subgroups(
    predictions: Predictions, columns: Mapping[str, Mapping[str, str]], groups: Mapping[str, str] = {}
) -> tuple[tuple[Subgroup, ...], tuple[str, ...]]:
    """Score every subgroup of `MIN_SUBGROUP_SIZE` samples or more.

    Args:
        predictions: Of one model.
        columns: By column, its value by sample id; a sample without a value counts as "".
        groups: As for `score`.

    Returns:
        The subgroups, and a description of each subgroup that is hidden because it is too small.
    """
    parts: list[tuple[str, str, set[str]]] = []
    hidden = []
    for column, values in columns.items():
        for value, n in sorted(Counter(values.get(sample, "") for sample in predictions.ids).items()):
            if n < MIN_SUBGROUP_SIZE:
                hidden.append(f"{column} = {value or 'missing'} (n = {n})")
            else:
                ids = {sample for sample in predictions.ids if values.get(sample, "") == value}
                parts.append((column, value, ids))
    p_values = [accuracy_versus_rest(predictions, ids) for _, _, ids in parts]
    corrected = iter(holm([p for p in p_values if p is not None]))
    scored = []
    for (column, value, ids), p in zip(parts, p_values, strict=True):
        scores = score(subset(predictions, ids), groups)
        scored.append(Subgroup(column, value, scores, p, None if p is None else next(corrected)))
    return tuple(scored), tuple(hidden)


def accuracy_versus_rest(predictions: Predictions, ids: set[str]) -> float | None:
    """Return Fisher's exact p that these samples and all others have equal accuracy; None without others."""
    correct = predictions.predicted == predictions.labels
    table = [[0, 0], [0, 0]]
    for sample, is_correct in zip(predictions.ids, correct, strict=True):
        table[sample in ids][int(is_correct)] += 1
    if not sum(table[False]):
        return None
    return float(scipy.stats.fisher_exact(table).pvalue)
