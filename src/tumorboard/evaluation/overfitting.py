"""A verdict in words on over- and underfitting, from train and validation alone."""

import math

from tumorboard.evaluation.intervals import wilson

UNDERFIT_SHARE = 0.5
"""A model that makes more than this share of the majority class's training errors has not learnt its data."""
OVERFIT_GAP = 0.05
"""A smaller loss of accuracy from train to validation is negligible, however many images show it."""
OVERCONFIDENT_GAP = 0.3
"""In nats: the typical probability of the true class falls by a quarter from train on (exp(-0.3) = 0.74)."""
MIN_IMAGES = 30
"""With fewer, a gap's interval excludes 0 wrongly up to 14% of the time (computed), with more 4%."""


def verdict(
    train_loss: float,
    train_accuracy: float,
    valid_loss: float,
    valid_accuracy: float,
    n_train: int,
    n_valid: int,
    baseline_accuracy: float,
) -> str:
    """Describe over- or underfitting in words, from train and validation alone.

    Args:
        train_loss: Mean log loss in nats; `valid_loss` likewise.
        train_accuracy: 0 to 1; `valid_accuracy` likewise.
        valid_loss: See `train_loss`.
        valid_accuracy: See `train_accuracy`.
        n_train: Training images.
        n_valid: Validation images.
        baseline_accuracy: Share of the majority class in train, 0 to 1.
    """
    if not n_train or not n_valid:
        return "Cannot be judged: no images in train or validation."
    sentences = []
    low, _ = wilson(round(train_accuracy * n_train), n_train)
    figures = f"train accuracy {train_accuracy:.1%}, majority class {baseline_accuracy:.1%}"
    if low <= baseline_accuracy < 1:
        sentences.append(f"Underfitting: not significantly better than the majority class ({figures}).")
    elif train_accuracy < baseline_accuracy + UNDERFIT_SHARE * (1 - baseline_accuracy):
        sentences.append(f"Underfitting: more than half of the majority class's training errors ({figures}).")
    sentences.append(_describe_gap(train_accuracy, n_train, valid_accuracy, n_valid))
    if valid_loss - train_loss >= OVERCONFIDENT_GAP:
        rise = f"from {train_loss:.2f} on train to {valid_loss:.2f} on validation"
        sentences.append(f"The loss rises {rise}: the model is overconfident on new images.")
    return " ".join(sentences)


def _describe_gap(train: float, n_train: int, valid: float, n_valid: int) -> str:
    gap, (low, high) = train - valid, gap_interval(train, n_train, valid, n_valid)
    figures = (
        f"train minus validation accuracy is {100 * gap:+.1f} percentage points "
        f"(95% CI {100 * low:+.1f} to {100 * high:+.1f}, n = {n_valid} validation images)"
    )
    if n_valid < MIN_IMAGES:
        return f"Overfitting cannot be judged on so few images: {figures}."
    if low <= 0 <= high:
        return f"No overfitting shown: {figures}, which is not significant."
    if gap < 0:
        return f"No overfitting: {figures}; validation may be easier than train."
    if gap < OVERFIT_GAP:
        return f"Negligible overfitting: {figures}, which is significant but small."
    return f"Overfitting: {figures}, which is significant."


def gap_interval(train: float, n_train: int, valid: float, n_valid: int) -> tuple[float, float]:
    """Return the 95% interval of the difference of two independent proportions, train - valid.

    Newcombe's hybrid score interval (method 10 of R. G. Newcombe, Stat. Med. 17 (1998) 873-890):
    56/70 - 48/80 gives (0.0524, 0.3339).
    """
    low_t, high_t = wilson(round(train * n_train), n_train)
    low_v, high_v = wilson(round(valid * n_valid), n_valid)
    gap = train - valid
    return gap - math.hypot(train - low_t, high_v - valid), gap + math.hypot(high_t - train, valid - low_v)
