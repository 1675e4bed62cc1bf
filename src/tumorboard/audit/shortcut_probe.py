"""Measure how well the class can be predicted from features that should not reveal it.

An ensemble of extremely randomised trees is cross-validated on train and validation alone, one image of each
set of duplicates, groups kept together. The reference is the share of the majority class. Each class is also
judged against all others, because a rare class may be predicted perfectly with hardly any effect on accuracy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import Finding, NotApplicable, Number, Outcome
from tumorboard.data.near_duplicates import Indices
from tumorboard.evaluation.intervals import wilson

_FOLDS, _TREES = 5, 25
_FEW_ROWS = 10
_MIN_IMAGES = 10  # of a class, in at least as many groups as there are folds
_MAX_IMAGES = 5000
_GAIN, _CLASS_GAIN = 0.05, 0.2  # over the reference: less is no shortcut worth a warning

Features = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Proportion:
    """A proportion k / n.

    Args:
        k: Cases with the property.
        n: All cases.
    """

    k: int
    n: int

    @property
    def value(self) -> float:
        """Return k / n, 0 to 1."""
        return self.k / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Compute the 95% Wilson interval."""
        return wilson(self.k, self.n)


@dataclass(frozen=True, slots=True)
class OneVersusRest:
    """The prediction whether an image is of one class or of any other, both equally likely a priori.

    Args:
        sensitivity: Images of the class that are predicted to be of it.
        false_positive_rate: Images of other classes that are predicted to be of it.
    """

    sensitivity: Proportion
    false_positive_rate: Proportion

    @property
    def is_predictable(self) -> bool:
        """Whether the intervals do not overlap and the two proportions differ by enough to matter."""
        separate = self.sensitivity.interval[0] > self.false_positive_rate.interval[1]
        return separate and self.youden >= _CLASS_GAIN

    @property
    def youden(self) -> float:
        """Youden's index: 0 without information, 1 for perfect predictions."""
        return self.sensitivity.value - self.false_positive_rate.value


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Cross-validated predictions of the class.

    Args:
        accuracy: Correct predictions among all classes.
        majority: Share of the majority class, 0 to 1.
        classes: Each class against all others.
    """

    accuracy: Proportion
    majority: float
    classes: Mapping[str, OneVersusRest]

    @property
    def is_predictable(self) -> bool:
        """Whether the accuracy's interval lies above the majority class, by enough to matter."""
        gain = self.accuracy.value - self.majority
        return self.accuracy.interval[0] > self.majority and gain >= _GAIN

    def numbers(self) -> dict[str, Number]:
        """Return all numbers and their intervals, flat."""
        proportions = {"accuracy": self.accuracy}
        for name, part in self.classes.items():
            proportions[f"{name}: sensitivity"] = part.sensitivity
            proportions[f"{name}: false-positive rate"] = part.false_positive_rate
        numbers: dict[str, Number] = {}
        for name, proportion in proportions.items():
            low, high = proportion.interval
            numbers[name] = round(proportion.value, 4)
            numbers[f"{name}, low"] = round(low, 4)
            numbers[f"{name}, high"] = round(high, 4)
        return numbers | {"majority class": round(self.majority, 4), "images": self.accuracy.n}


def find_shortcut(
    facts: DatasetFacts,
    features: Callable[[DatasetFacts], Features],
    what: str,
    consequence: str,
    remedy: str,
) -> Outcome:
    """Report a finding if the features predict the class.

    Args:
        facts: The facts.
        features: Computes float (N, F) for all samples; rows of test are not used.
        what: The name of the features, such as "the colour mode".
        consequence: For the finding.
        remedy: For the finding.
    """
    values = features(facts)
    if len(np.unique(values[facts.development], axis=0)) == 1:
        return ()
    result = probe(facts, values)
    if isinstance(result, NotApplicable):
        return result
    if not (result.is_predictable or any(part.is_predictable for part in result.classes.values())):
        return ()
    name, best = max(result.classes.items(), key=lambda item: item[1].youden)
    low, high = result.accuracy.interval
    title = (
        f"The class can be predicted from {what} alone: accuracy {result.accuracy.value:.2f} (95% CI "
        f"{low:.2f}-{high:.2f}, majority class {result.majority:.2f}); for {name} sensitivity "
        f"{best.sensitivity.value:.2f}, false-positive rate {best.false_positive_rate.value:.2f}"
    )
    return (Finding("warning", title, consequence, remedy, (), result.numbers()),)


def probe(facts: DatasetFacts, features: Features) -> ProbeResult | NotApplicable:
    """Cross-validate predictions of the class from features, on train and validation.

    Args:
        facts: The facts.
        features: float (N, F) for all samples; rows of test are not used.
    """
    names = [sample.group or f" {i}" for i, sample in enumerate(facts.samples)]  # ungrouped: one group each
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    rows = _usable_rows(facts, groups)
    labels = facts.manifest.labels[rows]
    if len(np.unique(labels)) < 2:
        return NotApplicable(
            f"fewer than two classes have {_MIN_IMAGES} different images of {_FOLDS} groups outside test"
        )
    known, labels = np.unique(labels, return_inverse=True)
    votes = _cross_validated(features[rows], labels, groups[rows])
    shares = np.bincount(labels) / len(labels)
    classes = {}
    for column, number in enumerate(known):
        predicted, actual = votes[:, column] > shares[column], labels == column
        classes[facts.manifest.class_names[number]] = OneVersusRest(
            *(Proportion(int(predicted[part].sum()), int(part.sum())) for part in (actual, ~actual))
        )
    correct = int((votes.argmax(axis=1) == labels).sum())
    return ProbeResult(Proportion(correct, len(labels)), float(shares.max()), classes)


def _usable_rows(facts: DatasetFacts, groups: Indices) -> Indices:
    """Rows of the classes with enough images and groups; a random sample if there are many."""
    rows, labels = facts.development, facts.manifest.labels
    enough = [
        label
        for label in np.unique(labels[rows])
        if (labels[rows] == label).sum() >= _MIN_IMAGES
        and len(np.unique(groups[rows][labels[rows] == label])) >= _FOLDS
    ]
    rows = rows[np.isin(labels[rows], enough)]
    if len(rows) <= _MAX_IMAGES:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, _MAX_IMAGES, replace=False))


def _cross_validated(features: Features, labels: Indices, groups: Indices) -> Features:
    """(N, C): the share of votes for each class, by trees that were not fitted on the image or its group."""
    # The groups of each class are dealt to the folds in random order; scikit-learn's splitter takes seconds.
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(0).permutation(len(first))
    fold_of_group = np.empty(len(first), np.int64)
    fold_of_group[shuffled[np.argsort(labels[first[shuffled]], kind="stable")]] = (
        np.arange(len(first)) % _FOLDS
    )
    folds = fold_of_group[group]
    # One tree suffices where there are so few different rows that every tree separates all of them.
    trees = 1 if len(np.unique(features, axis=0)) <= _FEW_ROWS else _TREES
    from sklearn.ensemble import ExtraTreesClassifier  # a second to import

    votes = np.zeros((len(labels), labels.max() + 1))
    for fold in range(_FOLDS):
        train, rest = folds != fold, np.flatnonzero(folds == fold)
        forest = ExtraTreesClassifier(trees, min_samples_leaf=2, random_state=0)
        forest.fit(features[train], labels[train])
        votes[np.ix_(rest, forest.classes_)] = forest.predict_proba(features[rest])
    return votes
