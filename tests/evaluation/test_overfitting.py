import numpy as np
import pytest

from tumorboard.evaluation.intervals import proportion, share
from tumorboard.evaluation.overfitting import gap_interval, verdict

BASELINE = 195 / 613


@pytest.mark.parametrize(
    ("train", "valid", "n_train", "n_valid", "starts", "says"),
    [
        # The study's four models on its 613 and 72 images.
        ((0.438, 0.822), (1.028, 0.653), 613, 72, "Overfitting", "which is significant. The loss rises"),
        ((0.573, 0.744), (0.727, 0.764), 613, 72, "No overfitting shown", "which is not significant."),
        (
            (1.385, 0.258),
            (1.443, 0.222),
            613,
            72,
            "Underfitting: not significantly better than the majority",
            "which is not significant.",
        ),
        ((0.539, 0.775), (0.955, 0.639), 613, 72, "Overfitting", "The loss rises from 0.54 on train to 0.95"),
        # Better than the majority class, but more than half of its errors.
        (
            (1.100, 0.500),
            (1.100, 0.500),
            613,
            72,
            "Underfitting: more than half",
            "which is not significant.",
        ),
        # A large gap: nothing in 5 images, noise in 30, more than that in 500.
        ((0.3, 0.9), (0.5, 0.6), 613, 5, "Overfitting cannot be judged", "+30.0 percentage points"),
        (
            (0.3, 0.7),
            (0.5, 0.5),
            30,
            30,
            "No overfitting shown",
            "n = 30 validation images), which is not significant",
        ),
        ((0.3, 0.9), (0.5, 0.6), 613, 500, "Overfitting", "which is significant."),
        # A gap that many images show, but too small to matter.
        ((0.1, 0.98), (0.15, 0.95), 50_000, 50_000, "Negligible overfitting", "significant but small"),
        ((0.5, 0.80), (0.3, 0.95), 5_000, 5_000, "No overfitting", "easier than train"),
        # Right as often, but far too sure of what it gets wrong.
        ((0.1, 0.95), (0.6, 0.94), 613, 72, "No overfitting shown", "overconfident"),
        ((0.1, 0.95), (float("nan"), 0.0), 613, 0, "Cannot be judged", "no images"),
    ],
)
def test_the_verdict_weighs_the_gap_against_noise(train, valid, n_train, n_valid, starts, says):
    losses, accuracies = zip(train, valid, strict=True)
    of_train, of_valid = (
        proportion(round(share * n), n) for share, n in zip(accuracies, (n_train, n_valid), strict=True)
    )
    text = verdict(losses[0], of_train, losses[1], of_valid, BASELINE)
    assert text.startswith(starts)
    assert says in text


def test_the_interval_of_a_gap_is_newcombe_s_published_example():
    first, second = proportion(56, 70), proportion(48, 80)
    assert gap_interval(first, second) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_gap_that_few_patients_show_is_no_overfitting():
    hits = np.repeat(np.arange(12) % 3 > 0, 20)  # 8 of 12 patients, who have 20 images each
    train = proportion(510, 600)
    alone, together = share(hits), share(hits, np.repeat(np.arange(12), 20))
    assert verdict(0.3, train, 0.5, alone, BASELINE).startswith("Overfitting:")
    assert verdict(0.3, train, 0.5, together, BASELINE).startswith("No overfitting shown")
