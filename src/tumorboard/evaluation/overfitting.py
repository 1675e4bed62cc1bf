"""A verdict in words on over- and underfitting, from train and validation alone."""

import math

from tumorboard.evaluation.intervals import Estimate, Interval

UNDERFIT_SHARE = 0.5
"""A model that makes more than this share of the majority class's training errors has not learnt its data."""
OVERFIT_GAP = 0.05
"""A smaller loss of accuracy from train to validation is negligible, however many images show it."""
OVERCONFIDENT_GAP = 0.3
"""In nats: the typical probability of the true class falls by a quarter from train on (exp(-0.3) = 0.74)."""
MIN_IMAGES = 30
"""With fewer, a gap's interval excludes 0 wrongly up to 14% of the time (computed), with more 4%."""


def verdict(
    train_loss: float, train: Estimate, valid_loss: float, valid: Estimate, baseline_accuracy: float
) -> str:
    """Describe over- or underfitting in words, from train and validation alone.

    Args:
        train_loss: Mean log loss in nats; `valid_loss` likewise.
        train: The accuracy; `valid` likewise.
        valid_loss: See `train_loss`.
        valid: See `train`.
        baseline_accuracy: Share of the majority class in train, 0 to 1.
    """
    if train.value is None or valid.value is None:
        return "Cannot be judged: no images in train or validation."
    sentences = []
    figures = f"train accuracy {train.value:.1%}, majority class {baseline_accuracy:.1%}"
    if (train.low or 0.0) <= baseline_accuracy < 1:
        sentences.append(f"Underfitting: not significantly better than the majority class ({figures}).")
    elif train.value < baseline_accuracy + UNDERFIT_SHARE * (1 - baseline_accuracy):
        sentences.append(f"Underfitting: more than half of the majority class's training errors ({figures}).")
    sentences.append(_describe_gap(train, valid))
    if valid_loss - train_loss >= OVERCONFIDENT_GAP:
        rise = f"from {train_loss:.2f} on train to {valid_loss:.2f} on validation"
        sentences.append(f"The loss rises {rise}: the model is overconfident on new images.")
    return " ".join(sentences)


def _describe_gap(train: Estimate, valid: Estimate) -> str:
    gap, (low, high) = (train.value or 0.0) - (valid.value or 0.0), gap_interval(train, valid)
    figures = (
        f"train minus validation accuracy is {100 * gap:+.1f} percentage points "
        f"(95% CI {100 * low:+.1f} to {100 * high:+.1f}, n = {valid.n} validation images)"
    )
    if valid.n < MIN_IMAGES:
        return f"Overfitting cannot be judged on so few images: {figures}."
    if low <= 0 <= high:
        return f"No overfitting shown: {figures}, which is not significant."
    if gap < 0:
        return f"No overfitting: {figures}; validation may be easier than train."
    if gap < OVERFIT_GAP:
        return f"Negligible overfitting: {figures}, which is significant but small."
    return f"Overfitting: {figures}, which is significant."


def gap_interval(train: Estimate, valid: Estimate) -> Interval:
    """Return the 95% interval of the difference of two independent proportions, train - valid.

    Newcombe's hybrid score interval (method 10 of R. G. Newcombe, Stat. Med. 17 (1998) 873-890) from their
    limits, which are over groups where those are known: 56/70 - 48/80 gives (0.0524, 0.3339).
    """
    (low_t, t, high_t), (low_v, v, high_v) = (
        (each.low or 0.0, each.value or 0.0, 1.0 if each.high is None else each.high)
        for each in (train, valid)
    )
    return Interval(t - v - math.hypot(t - low_t, high_v - v), t - v + math.hypot(high_t - t, v - low_v))
