"""The same predictions on fewer samples."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tumorboard.evaluation.scores import Groups, Scores, evaluate
from tumorboard.evaluation.significance import holm
from tumorboard.predictions import Predictions


def subset(predictions: Predictions, ids: Collection[str]) -> Predictions:
    """The samples of these ids, in the order they have; ids that do not occur are ignored."""
    wanted = set(ids)
    rows = np.flatnonzero([one in wanted for one in predictions.ids])
    kept = tuple(predictions.ids[row] for row in rows)
    return Predictions(
        kept, predictions.labels[rows], predictions.class_names, predictions.probabilities[rows]
    )


MIN_SUBGROUP_SIZE = 20
"""Subgroups of fewer samples are not shown: their figures are noise, and may point at a person."""


@dataclass(frozen=True)
class Subgroup:
    """The samples of one value of a column.

    Attributes:
        column: The column.
        value: Its value; "" is what is missing.
        scores: Of its samples, prevalences among them.
        p: Fisher's exact test that its accuracy is that of all other samples; None with nothing to compare.
        p_holm: Corrected for all subgroups of all columns that were looked at.
    """

    column: str
    value: str
    scores: Scores
    p: float | None
    p_holm: float | None


def subgroups(
    predictions: Predictions, columns: Mapping[str, Mapping[str, str]], groups: Mapping[str, str] = {}
) -> tuple[tuple[Subgroup, ...], tuple[str, ...]]:
    """Scores of every subgroup of `MIN_SUBGROUP_SIZE` samples or more.

    Args:
        predictions: Of one model.
        columns: By column, its value by sample id; a sample without one counts as "".
        groups: As for `evaluate`.

    Returns:
        The subgroups, and those hidden as too small, in words.
    """
    shown: list[tuple[str, str, set[str]]] = []
    hidden = []
    for column, values in columns.items():
        counts = Counter(values.get(one, "") for one in predictions.ids)
        for value, n in sorted(counts.items()):
            if n < MIN_SUBGROUP_SIZE:
                hidden.append(f"{column} = {value or 'missing'} (n = {n})")
            else:
                ids = {one for one in predictions.ids if values.get(one, "") == value}
                shown.append((column, value, ids))
    return _scored(predictions, shown, groups), tuple(hidden)


def _scored(
    predictions: Predictions, parts: Sequence[tuple[str, str, set[str]]], groups: Groups
) -> tuple[Subgroup, ...]:
    p_values = [accuracy_versus_rest(predictions, ids) for _, _, ids in parts]
    corrected = iter(holm([p for p in p_values if p is not None]))
    return tuple(
        Subgroup(
            column,
            value,
            evaluate(subset(predictions, ids), groups),
            p,
            None if p is None else next(corrected),
        )
        for (column, value, ids), p in zip(parts, p_values, strict=True)
    )


def accuracy_versus_rest(predictions: Predictions, ids: set[str]) -> float | None:
    """Fisher's exact p that the accuracy of these samples is that of all others; None without others."""
    table = [[0, 0], [0, 0]]
    for name, label, said in zip(predictions.ids, predictions.labels, predictions.predicted, strict=True):
        table[name in ids][int(label == said)] += 1
    if not sum(table[False]):
        return None
    return float(stats.fisher_exact(table).pvalue)
