"""A verdict in words on over- and underfitting, from train and validation alone."""

import math

from tumorboard.evaluation.intervals import wilson

# A model that leaves more than half of a blind guess's training errors has not learnt its training data.
UNDERFIT_SHARE = 0.5
# A smaller loss of accuracy from train to validation is of no practical weight, however many images show it.
OVERFIT_GAP = 0.05
# In nats: the typical probability of the true class falls by a quarter (exp(-0.3) = 0.74) from train on.
OVERCONFIDENT_GAP = 0.3
# Below it a gap's interval cries wolf up to 14 % of the time (computed), from it on 4 %; it should be 2.5 %.
FEW_IMAGES = 30


def verdict(
    train_loss: float,
    train_accuracy: float,
    valid_loss: float,
    valid_accuracy: float,
    n_train: int,
    n_valid: int,
    baseline_accuracy: float,
) -> str:
    """Over- or underfitting in plain words, from train and validation alone.

    Args:
        train_loss: Mean log loss in nats; `valid_loss` likewise.
        train_accuracy: 0 to 1; `valid_accuracy` likewise.
        valid_loss: See `train_loss`.
        valid_accuracy: See `train_accuracy`.
        n_train: Training images.
        n_valid: Validation images; their noise decides what can be said.
        baseline_accuracy: Share of the majority class in train, 0 to 1.
    """
    if not n_train or not n_valid:
        return "Cannot be judged: no images in train or validation."
    parts = [
        _fit(train_accuracy, n_train, baseline_accuracy),
        _gap(train_accuracy, n_train, valid_accuracy, n_valid),
    ]
    if valid_loss - train_loss >= OVERCONFIDENT_GAP:
        rise = f"from {train_loss:.2f} to {valid_loss:.2f}"
        parts.append(f"The loss rises {rise}: it is too sure of itself on new images.")
    return " ".join(part for part in parts if part)


def _fit(accuracy: float, n: int, baseline: float) -> str:
    low, _ = wilson(round(accuracy * n), n)
    found = f"{accuracy:.1%} of train right, {baseline:.1%} by always guessing the commonest class"
    if low <= baseline < 1:
        return f"Underfitting: no better than a guess on its own training images ({found})."
    if accuracy < baseline + UNDERFIT_SHARE * (1 - baseline):
        return f"Underfitting: leaves most of a guess's errors on its own training images ({found})."
    return ""


def _gap(train: float, n_train: int, valid: float, n_valid: int) -> str:
    gap, (low, high) = train - valid, gap_interval(train, n_train, valid, n_valid)
    found = (
        f"train minus validation accuracy is {_points(gap)} points "
        f"({_points(low)} to {_points(high)} at 95 %, {n_valid} validation images)"
    )
    if n_valid < FEW_IMAGES:
        return f"Overfitting cannot be judged on so few images: {found}."
    if low <= 0 <= high:
        return f"No overfitting shown: {found}, which is within noise."
    if gap < 0:
        return f"No overfitting: {found}; validation may be the easier part."
    if gap < OVERFIT_GAP:
        return f"Hardly any overfitting: {found}, more than noise but little."
    return f"Overfitting: {found}, more than noise."


def gap_interval(train: float, n_train: int, valid: float, n_valid: int) -> tuple[float, float]:
    """95 % interval of the difference of two independent proportions, train - valid.

    Newcombe's hybrid score interval (method 10 of R. G. Newcombe, Stat. Med. 17 (1998) 873-890):
    56/70 - 48/80 gives (0.0524, 0.3339).
    """
    low_t, high_t = wilson(round(train * n_train), n_train)
    low_v, high_v = wilson(round(valid * n_valid), n_valid)
    gap = train - valid
    return gap - math.hypot(train - low_t, high_v - valid), gap + math.hypot(high_t - train, valid - low_v)


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
