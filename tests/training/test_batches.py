import keras
import numpy as np
import pytest

from tumorboard.data.image_cache import Rows
from tumorboard.training.batches import Batches, as_dataset

COUNT, BATCH, VIEWS = 10, 4, 3
LABELS = np.arange(COUNT) % 3


def numbered(views: int = VIEWS) -> list[np.ndarray]:
    """Row n of view v holds 100 v + n, so that what was delivered can be read off."""
    return [100.0 * view + np.arange(COUNT, dtype=np.float32)[:, None] for view in range(views)]


class Witness(keras.Model):
    """Notes which rows it is really given, in which epoch; learns nothing. JAX has other steps."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[np.ndarray] = []
        self.built = True

    def train_step(self, data: tuple[np.ndarray, ...]) -> dict[str, float]:
        self.given.append(np.hstack([np.asarray(part).reshape(len(part), -1) for part in data]))
        return {"loss": 0.0}

    def test_step(self, data: tuple[np.ndarray, ...]) -> dict[str, float]:
        return {"loss": 0.0}


def delivered(order: int | None, first: int, last: int, **options: object) -> list[np.ndarray]:
    """What Keras's fit hands to the model in epochs first to last."""
    witness = Witness()
    witness.compile(run_eagerly=True)
    batches = Batches([numbered()], LABELS, BATCH, order=order, **options)
    draw = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.draw(epoch))
    witness.fit(
        as_dataset(batches),
        initial_epoch=first,
        epochs=last,
        shuffle=False,
        verbose=0,
        validation_data=as_dataset(Batches([numbered()], LABELS, BATCH)),
        callbacks=[draw],
    )
    steps = len(batches)
    return [np.vstack(witness.given[start : start + steps]) for start in range(0, len(witness.given), steps)]


@pytest.fixture(scope="module")
def uninterrupted() -> list[np.ndarray]:
    return delivered(7, 0, 5)


@pytest.mark.tensorflow
def test_through_fit_every_epoch_is_every_row_once_with_its_label(uninterrupted: list[np.ndarray]) -> None:
    assert len(uninterrupted) == 5
    for epoch in uninterrupted:
        rows = epoch[:, 0].astype(int) % 100
        assert sorted(rows) == list(range(COUNT))
        np.testing.assert_array_equal(epoch[:, 1], LABELS[rows])


@pytest.mark.tensorflow
def test_through_fit_epochs_and_seeds_differ_in_order_and_views(uninterrupted: list[np.ndarray]) -> None:
    first, second, *_ = (epoch[:, 0] for epoch in uninterrupted)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, delivered(8, 0, 1)[0][:, 0])
    assert {row // 100 for epoch in uninterrupted for row in epoch[:, 0]} == set(range(VIEWS))


@pytest.mark.tensorflow
@pytest.mark.parametrize("epoch", range(1, 5))
def test_through_fit_a_resume_is_given_the_rows_of_its_epoch(
    uninterrupted: list[np.ndarray], epoch: int
) -> None:
    for resumed, before in zip(delivered(7, epoch, 5), uninterrupted[epoch:], strict=True):
        np.testing.assert_array_equal(resumed, before)


@pytest.mark.tensorflow
def test_without_order_rows_come_as_they_lie_in_their_first_view() -> None:
    for epoch in delivered(None, 0, 2):
        np.testing.assert_array_equal(epoch[:, 0], np.arange(COUNT))


@pytest.mark.tensorflow
def test_weights_go_with_their_rows() -> None:
    (epoch,) = delivered(7, 0, 1, weights=np.arange(COUNT) / 8)
    np.testing.assert_array_equal(epoch[:, 2], (epoch[:, 0] % 100) / 8)


def test_length_counts_the_last_short_batch() -> None:
    batches = Batches([numbered()], LABELS, BATCH)
    assert len(batches) == 3
    assert [len(batches[number][1]) for number in range(3)] == [4, 4, 2]


def test_inputs_of_one_row_stay_together_whatever_number_of_views_they_have() -> None:
    batches = Batches([numbered(2), numbered(1)], LABELS, COUNT, order=1)
    (first, second), _ = batches[0]
    np.testing.assert_array_equal(first % 100, second)


def test_half_precision_is_fed_in_single_and_pixels_as_they_are() -> None:
    halves = Batches([[np.ones((COUNT, 2), np.float16)]], LABELS, BATCH)
    pixels = np.arange(COUNT * 12, dtype=np.uint8).reshape(COUNT, 2, 2, 3)
    rows = Batches([[Rows(pixels, np.arange(COUNT)[::-1].copy())]], LABELS, BATCH)
    assert halves[0][0].dtype == np.float32
    assert rows[0][0].dtype == np.uint8
    np.testing.assert_array_equal(rows[0][0], pixels[::-1][:BATCH])
