"""How well the class can be guessed from something that should not tell it.

A small forest is cross-validated on train and validation alone, one picture of each twin unit, groups kept
together. Chance is to always say the commonest class. Classes are also judged one by one, because a rare
class may be told perfectly without any effect on accuracy.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesClassifier

from tumorboard.auditing.outcome import Finding, NotApplicable, Number, Outcome
from tumorboard.auditing.study import Study
from tumorboard.data.near_duplicates import Indices
from tumorboard.evaluation.intervals import wilson

_FOLDS, _TREES = 5, 25
_FEW_ROWS = 10
_FEWEST = 10  # pictures of a class, in as many groups as there are folds
_MOST = 5000
_GAIN, _CLASS_GAIN = 0.05, 0.2  # over chance: less is no shortcut worth a warning

Features = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """How many of n.

    Args:
        k: Number of them.
        n: Of how many.
    """

    k: int
    n: int

    @property
    def value(self) -> float:
        """0 to 1."""
        return self.k / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % Wilson interval."""
        return wilson(self.k, self.n)

    def __str__(self) -> str:
        return "{:.3f} ({:.3f} to {:.3f})".format(self.value, *self.interval)


@dataclass(frozen=True, slots=True)
class OneClass:
    """Whether an image is of this class or of any other, both taken as equally likely before.

    Args:
        found: Images of the class that were guessed to be of it.
        suspected: Images of the others that were guessed to be of it: by chance as large a share.
    """

    found: Share
    suspected: Share

    @property
    def telling(self) -> bool:
        """Whether the intervals are apart, and the shares by enough to matter."""
        return self.found.interval[0] > self.suspected.interval[1] and self.gain >= _CLASS_GAIN

    @property
    def gain(self) -> float:
        """Youden's index: 0 by chance, 1 for a perfect guess."""
        return self.found.value - self.suspected.value


@dataclass(frozen=True, slots=True)
class Guess:
    """The guess among all classes, and of each class alone.

    Args:
        right: Right guesses among all classes.
        chance: What always saying the commonest class would score, 0 to 1.
        classes: By name.
    """

    right: Share
    chance: float
    classes: Mapping[str, OneClass]

    @property
    def telling(self) -> bool:
        """Whether the accuracy beats chance by more than its interval and by enough to matter."""
        return self.right.interval[0] > self.chance and self.right.value - self.chance >= _GAIN


def guessing(study: Study, features: Features, what: str, consequence: str, remedy: str) -> Outcome:
    """Turn a guess into a finding, if it beats chance.

    Args:
        study: The facts.
        features: float (N, F) for all samples of the study; test rows are not looked at.
        what: The clue, as "the colour mode".
        consequence: For the finding.
        remedy: For the finding.
    """
    if len(np.unique(features[study.choosing], axis=0)) == 1:
        return ()
    made = guess(study, features)
    if isinstance(made, NotApplicable):
        return made
    if not (made.telling or any(one.telling for one in made.classes.values())):
        return ()
    name, best = max(made.classes.items(), key=lambda item: item[1].gain)
    title = (
        f"{what} alone guesses the class with accuracy {made.right}, chance {made.chance:.3f}; it finds "
        f"{best.found} of {name!r} and suspects {best.suspected} of the others"
    )
    return (Finding("warning", title, consequence, remedy, (), dict(_numbers(made))),)


def guess(study: Study, features: Features) -> Guess | NotApplicable:
    """Cross-validate the guess on what one may choose by."""
    rows = _usable(study)
    labels = study.manifest.labels[rows]
    if len(np.unique(labels)) < 2:
        return NotApplicable(
            f"fewer than two classes have {_FEWEST} different images of {_FOLDS} groups outside test"
        )
    known, labels = np.unique(labels, return_inverse=True)
    shares = _cross_validated(features[rows], labels, _groups(study)[rows])
    frequencies = np.bincount(labels) / len(labels)
    classes = {
        study.manifest.class_names[number]: _one_class(shares[:, c] > frequencies[c], labels == c)
        for c, number in enumerate(known)
    }
    right = Share(int((shares.argmax(axis=1) == labels).sum()), len(labels))
    return Guess(right, float(frequencies.max()), classes)


def _usable(study: Study) -> Indices:
    """Rows of the classes that have enough pictures and groups, thinned evenly if they are many."""
    rows, labels, groups = study.choosing, study.manifest.labels, _groups(study)
    enough = [
        label
        for label in np.unique(labels[rows])
        if (labels[rows] == label).sum() >= _FEWEST
        and len(np.unique(groups[rows][labels[rows] == label])) >= _FOLDS
    ]
    rows = rows[np.isin(labels[rows], enough)]
    if len(rows) <= _MOST:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, _MOST, replace=False))


def _groups(study: Study) -> Indices:
    """A number for each group, and one for each sample without a group."""
    names = [sample.group or f" {i}" for i, sample in enumerate(study.samples)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _cross_validated(features: Features, labels: Indices, groups: Indices) -> Features:
    """(N, C): the forest's share of votes for each class, of images that it did not learn from."""
    shares = np.zeros((len(labels), labels.max() + 1))
    folds, trees = _folds(labels, groups), _trees(features)
    for held_out in range(_FOLDS):
        train, rest = folds != held_out, np.flatnonzero(folds == held_out)
        forest = ExtraTreesClassifier(trees, min_samples_leaf=2, random_state=0)
        forest.fit(features[train], labels[train])
        shares[np.ix_(rest, forest.classes_)] = forest.predict_proba(features[rest])
    return shares


def _trees(features: Features) -> int:
    """One, where there are so few different rows that every tree tells all of them apart."""
    return 1 if len(np.unique(features, axis=0)) <= _FEW_ROWS else _TREES


def _folds(labels: Indices, groups: Indices) -> Indices:
    """The groups of each class dealt out in random order; scikit-learn's own takes seconds for thousands."""
    _, first, of = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(0).permutation(len(first))
    dealt = np.empty(len(first), np.int64)
    dealt[shuffled[np.argsort(labels[first[shuffled]], kind="stable")]] = np.arange(len(first)) % _FOLDS
    folds: Indices = dealt[of]
    return folds


def _one_class(guessed: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> OneClass:
    return OneClass(*(Share(int(guessed[part].sum()), int(part.sum())) for part in (truth, ~truth)))


def _numbers(made: Guess) -> Iterator[tuple[str, Number]]:
    shares = {"accuracy": made.right}
    for name, one in made.classes.items():
        shares |= {f"{name}: found": one.found, f"{name}: suspected": one.suspected}
    for name, share in shares.items():
        low, high = share.interval
        yield name, round(share.value, 4)
        yield f"{name}, low", round(low, 4)
        yield f"{name}, high", round(high, 4)
    yield "chance", round(made.chance, 4)
    yield "images", made.right.n
