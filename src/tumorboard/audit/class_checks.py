"""Check the classes and their sizes: names across splits, balance, shift between splits, small splits."""

from collections import Counter

import numpy as np
import scipy

from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import Finding, NotApplicable, Outcome, Severity, check
from tumorboard.evaluation.intervals import wilson

_IMBALANCE_NOTE, _IMBALANCE_WARNING = 2.0, 5.0  # largest class divided by the smallest
_SHIFT_NOTE, _SHIFT_WARNING = 0.05, 0.15  # difference of a class's share between splits
_SHIFT_P = 0.01  # of the chi-squared test
_SMALL_NOTE, _SMALL_WARNING = 100, 30  # images of a split


@check("TB301", "class names that differ between splits", "note")
def class_names(facts: DatasetFacts) -> Outcome:
    """Report class folders that have different names in train, valid and test.

    Why it matters: Tools that number the classes by sorted names in each split confuse them, unless both
    orders happen to agree; then every metric is about the wrong classes.

    How it is measured: Folder names are matched exactly, then without case and separators, then by their
    first words; an ambiguous match is an error and is never resolved by a guess. The finding lists the
    matches.

    What to do: Check the list. `--class-map NAME=FOLDER,FOLDER` decides where it is wrong.
    """
    if facts.matching is None:
        return NotApplicable("the names of the class folders are not known")
    if len(facts.matching.splits) < 2:
        return NotApplicable("the data has only one split")
    rows = facts.matching.rows
    differing = [row[1:] for row in rows if len(set(row[1:])) > 1]
    if not differing:
        return ()
    return (
        Finding(
            "note",
            f"{len(differing)} of {len(rows)} classes have different names in the splits",
            "Tools that number classes by sorted names confuse them unless the order happens to be the same.",
            "Check the matches listed here; --class-map decides where they are wrong.",
            tuple(tuple(dict.fromkeys(folders)) for folders in differing),
            {"classes": len(differing)},
        ),
    )


@check("TB302", "class balance", "warning or note")
def class_balance(facts: DatasetFacts) -> Outcome:
    """Report whether the largest class has at least 2 (note) or 5 (warning) times the images of the smallest.

    Why it matters: A model that always predicts the majority class has a high accuracy, and a small class can
    be missed completely without any effect on it.

    How it is measured: By the counts of train, or of all images if the data has no splits.

    What to do: Read the recall of each class and the balanced accuracy; consider `class_weights = true` in
    the recipe; collect more images of the small class.
    """
    counts = Counter(sample.label for sample in facts.samples if sample.split in ("train", ""))
    if len(counts) < 2:
        return ()
    (largest, large), (smallest, small) = counts.most_common()[0], counts.most_common()[-1]
    if large < _IMBALANCE_NOTE * small:
        return ()
    return (
        Finding(
            "warning" if large >= _IMBALANCE_WARNING * small else "note",
            f"{largest} has {large} training images, {smallest} has {small}",
            f"Always predicting {largest!r} is correct for {large / counts.total():.3f} of train; accuracy "
            f"hides errors on {smallest!r}.",
            "Read the recall of each class and balanced accuracy; consider class_weights in the recipe.",
            (),
            dict(sorted(counts.items())),
        ),
    )


@check("TB303", "class distribution that shifts between splits", "warning or note")
def class_shift(facts: DatasetFacts) -> Outcome:
    """Report whether a class has another share of valid or test than of train.

    Why it matters: Accuracy depends on the class distribution: an equally good model can score differently on
    another distribution, and seem to overfit where it does not.

    How it is measured: Each split is compared with the first by the largest difference of a class's share: a
    note from 0.05 and a warning from 0.15, if a chi-squared test of the counts has p below 0.01.

    What to do: Split again, stratified (`tumorboard split`), or compare only recalls and balanced accuracy.
    """
    names, counts = facts.manifest.class_names, facts.manifest.counts
    if len(counts) < 2:
        return NotApplicable("the data has only one split")
    first, *others = counts
    findings = []
    for split in others:
        present = [name for name in names if counts[first][name] or counts[split][name]]
        table = np.array([[counts[part][name] for name in present] for part in (first, split)])
        shares = table / table.sum(axis=1, keepdims=True)
        worst = int(np.abs(shares[1] - shares[0]).argmax())
        before, after = shares[:, worst]
        if (
            abs(after - before) < _SHIFT_NOTE
            or len(present) < 2
            or scipy.stats.chi2_contingency(table).pvalue >= _SHIFT_P
        ):
            continue
        severity: Severity = "warning" if abs(after - before) >= _SHIFT_WARNING else "note"
        findings.append(
            Finding(
                severity,
                f"{present[worst]} is {before:.3f} of {first} and {after:.3f} of {split}",
                "Accuracy on one split does not predict that on the other, even for an equally good model.",
                "Split again with stratified classes, or compare recalls and balanced accuracy only.",
                (),
                {f"{part}: {name}": counts[part][name] for part in (first, split) for name in names},
            )
        )
    return tuple(findings)


@check("TB304", "splits too small to compare models on", "warning or note")
def small_splits(facts: DatasetFacts) -> Outcome:
    """Report a valid or test split of fewer than 100 images (note) or fewer than 30 (warning).

    Why it matters: Sampling error alone changes accuracy by more than models differ. With 72 images and an
    accuracy of 0.80, the 95% confidence interval is 0.70-0.88.

    How it is measured: The finding shows the Wilson interval at an accuracy of 0.80. Near duplicates and
    slices of one patient make it wider still.

    What to do: Add images or cross-validate. Do not choose by differences within the interval.
    """
    sizes = {
        split: sum(counts.values())
        for split, counts in facts.manifest.counts.items()
        if split in ("valid", "test")
    }
    if not sizes:
        return NotApplicable("the data has no valid or test split")
    findings = []
    for split, n in sizes.items():
        if n >= _SMALL_NOTE:
            continue
        correct = round(0.8 * n)
        low, high = wilson(correct, n)
        severity: Severity = "warning" if n < _SMALL_WARNING else "note"
        findings.append(
            Finding(
                severity,
                f"{split} has n = {n}",
                f"With {correct} correct predictions, the 95% CI of the accuracy is {low:.2f}-{high:.2f}: "
                "models that differ less cannot be distinguished.",
                "Add images, or cross-validate; do not choose by differences within the interval.",
                (),
                {"images": n, "low": round(low, 4), "high": round(high, 4)},
            )
        )
    return tuple(findings)


CHECKS = (class_names, class_balance, class_shift, small_splits)
