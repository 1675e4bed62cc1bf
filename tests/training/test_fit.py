import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.utils.class_weight import compute_sample_weight

from tumorboard.config import Training
from tumorboard.errors import TrainingError
from tumorboard.training import checkpoint
from tumorboard.training import fit as fitting
from tumorboard.training.batches import Batches
from tumorboard.training.fit import Examples, best_epoch, fit, loss_weights

SCRIPT = """
import json
import tensorflow as tf
from tumorboard.training.fit import prepare_backend

prepare_backend(3, 1)
threads = tf.config.threading
tf.constant(1.0) + 1.0
prepare_backend(3, 2)  # too late, and no error
print(json.dumps([threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads()]))
"""


@pytest.mark.tensorflow
def test_threads_are_pinned_before_anything_runs_and_left_alone_after() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, timeout=120
    )
    assert json.loads(ran.stdout) == [1, 1]


def test_the_same_seed_draws_the_same() -> None:
    def draw(seed: int) -> np.ndarray:
        fitting.prepare_backend(seed, 0)
        return np.asarray(keras.random.normal((5,)))

    np.testing.assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))


DRAWS = np.random.default_rng(0)
TRAIN = Examples([[DRAWS.normal(size=(20, 4)).astype(np.float32)]], DRAWS.integers(0, 3, 20))
VALID = Examples([[DRAWS.normal(size=(6, 4)).astype(np.float32)]], np.arange(6) % 3)


_KINDS = (layers.Dense, layers.BatchNormalization)


def network(seed: int = 0) -> keras.Model:
    """Everything with a memory: weights, moving averages, dropout seeds."""
    values = keras.Input((4,))
    x = layers.Dense(8, "relu", kernel_initializer=keras.initializers.GlorotUniform(seed=seed))(values)
    x = layers.Dropout(0.5, seed=seed + 1)(layers.BatchNormalization()(x))
    start = keras.initializers.GlorotUniform(seed=seed + 2)
    return keras.Model(values, layers.Dense(3, "softmax", kernel_initializer=start)(x), name="net")


def trained(settings: Training, state: Path, **options: Any) -> tuple[keras.Model, list[dict[str, float]]]:
    """Eagerly: to trace a graph takes longer than all the steps of such a network."""
    model = network(options.pop("first", 0))
    compiled = fitting.compile_model

    def eagerly(*args: Any) -> None:
        compiled(*args)
        model.run_eagerly = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "compile_model", eagerly)
        valid = options.pop("valid", VALID)
        return model, fit(model, TRAIN, valid, settings, state=state, seed=3, **options)


@pytest.fixture(scope="module")
def one_cycle(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, float]], list[float], int]:
    """A history, and the learning rate in each step."""
    settings = Training(
        epochs=8, patience=0, batch=8, learning_rate=0.01, schedule="one-cycle", optimizer="adamw"
    )
    rates: list[float] = []

    class Rates(checkpoint.Checkpoint):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            rates.append(float(self.model.optimizer.learning_rate))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting.checkpoint, "Checkpoint", Rates)
        _, history = trained(settings, tmp_path_factory.mktemp("fit") / "state.npz")
    return history, rates, 24


def test_history_has_a_row_an_epoch_and_every_column(one_cycle: Any) -> None:
    history, _, _ = one_cycle
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert all(set(row) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"} for row in history)


def test_one_cycle_rises_for_a_quarter_and_falls_to_nothing(one_cycle: Any) -> None:
    _, rates, steps = one_cycle
    assert len(rates) == steps
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates.index(max(rates)) in (steps // 4 - 1, steps // 4)
    assert rates[0] == pytest.approx(0.001 + 0.009 / (steps // 4), rel=0.05)
    assert np.all(np.diff(rates[steps // 4 :]) < 0)
    assert rates[-1] < 1e-6


def test_without_patience_the_last_epochs_weights_remain(one_cycle: Any, tmp_path: Path) -> None:
    model, history = trained(Training(epochs=3, patience=0, batch=8), tmp_path / "state")
    answers = model.predict_on_batch(VALID.inputs[0][0])
    assert np.mean(answers.argmax(1) == VALID.labels) == pytest.approx(history[-1]["val_accuracy"])
    of_true = answers[np.arange(6), VALID.labels]
    assert -np.log(of_true).mean() == pytest.approx(history[-1]["val_loss"], rel=1e-5)


def test_the_average_that_remains_is_keras_own_and_its_norms_are_settled_on_train(tmp_path: Path) -> None:
    settings = Training(epochs=4, patience=0, batch=20, learning_rate=0.1, average=0.7)
    steps: list[list[np.ndarray]] = []

    class Noting(checkpoint.Checkpoint):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps.append([np.asarray(weight) for weight in self.model.trainable_weights])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting.checkpoint, "Checkpoint", Noting)
        model, _ = trained(settings, tmp_path / "state")
    expected = steps[0]
    for now in steps[1:]:
        expected = [0.7 * before + 0.3 * new for before, new in zip(expected, now, strict=True)]
    for found, value in zip(model.trainable_weights, expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)
    dense, norm = (next(x for x in model.layers if isinstance(x, kind)) for kind in _KINDS)
    hidden = keras.ops.convert_to_numpy(dense(TRAIN.inputs[0][0]))
    raw = trained(settings.model_copy(update={"average": 0.0}), tmp_path / "raw")[0]
    last = next(x for x in raw.layers if isinstance(x, layers.BatchNormalization))
    settled = 0.99 * np.asarray(last.moving_mean) + 0.01 * hidden.mean(axis=0)
    np.testing.assert_allclose(norm.moving_mean, settled, rtol=1e-4, atol=1e-6)


def test_label_smoothing_is_that_of_keras(tmp_path: Path) -> None:
    model, history = trained(Training(epochs=1, patience=0, batch=8, label_smoothing=0.2), tmp_path / "state")
    answers = model.predict_on_batch(VALID.inputs[0][0])
    targets = 0.8 * np.eye(3)[VALID.labels] + 0.2 / 3
    assert -(targets * np.log(answers)).sum(1).mean() == pytest.approx(history[-1]["val_loss"], rel=1e-5)


def test_weight_decay_spares_biases_and_norms(tmp_path: Path) -> None:
    settings = Training(epochs=1, patience=0, batch=8, optimizer="adamw", weight_decay=0.3)
    model, _ = trained(settings, tmp_path / "state")
    decayed = [
        v.path.split("/")[-1] for v in model.trainable_variables if model.optimizer._use_weight_decay(v)
    ]
    assert decayed == ["kernel", "kernel"]
    assert model.optimizer.weight_decay == 0.3


@pytest.mark.parametrize("labels", [[0, 0, 0, 1], [2, 0, 2, 2, 0], [1, 1], [0, 1, 2, 3, 3, 3, 3]])
def test_class_weights_are_scikit_learns_balanced(labels: list[int]) -> None:
    found = loss_weights(Examples([], np.array(labels)), by_class=True, by_group=False)
    np.testing.assert_allclose(found, compute_sample_weight("balanced", labels), rtol=1e-6)


PATIENTS = ["ninety"] * 90 + ["three"] * 3 + ["", "", "name:found", "name:found"]
OF_PATIENTS = np.array([0] * 93 + [0, 1, 1, 1])


@pytest.mark.parametrize("by_class", [False, True])
def test_a_patient_of_ninety_images_weighs_as_one_of_three(by_class: bool) -> None:
    examples = Examples([], OF_PATIENTS, PATIENTS)
    weights = loss_weights(examples, by_class=by_class, by_group=True)
    totals = [weights[rows].sum() for rows in (slice(90), slice(90, 93), 93, 94, slice(95, 97))]
    # Three patients of class 0 and two of class 1; all weigh the same, or those of a class.
    shares = [1 / 6] * 3 + [1 / 4] * 2 if by_class else [1 / 5] * 5
    np.testing.assert_allclose(totals, len(PATIENTS) * np.array(shares), rtol=1e-5)
    assert len(set(weights[:90].tolist())) == 1


def test_a_patient_with_images_of_two_classes_weighs_as_one() -> None:
    examples = Examples([], np.array([0, 1, 1, 0, 0, 1]), ["both", "both", "both", "a", "a", "b"])
    np.testing.assert_allclose(
        loss_weights(examples, by_class=False, by_group=True), [2 / 3, 2 / 3, 2 / 3, 1, 1, 2], rtol=1e-6
    )


def test_where_no_row_has_a_group_or_each_has_its_own_all_weigh_the_same() -> None:
    for groups in ([""] * 20, [str(row) for row in range(20)]):
        examples = Examples([], TRAIN.labels, groups)
        assert loss_weights(examples, by_class=False, by_group=True).tolist() == [1] * 20
        both = loss_weights(examples, by_class=True, by_group=True)
        np.testing.assert_array_equal(both, loss_weights(examples, by_class=True, by_group=False))


def test_class_weights_reach_the_loss_where_the_recipe_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray | None] = []

    class Noting(Batches):
        def __init__(self, *args: Any, **options: Any) -> None:
            given.append(options.get("weights"))
            super().__init__(*args, **options)

    monkeypatch.setattr(fitting, "Batches", Noting)
    for wanted in (True, False):
        trained(Training(epochs=1, batch=8, class_weights=wanted), tmp_path / str(wanted))
    np.testing.assert_array_equal(given[0], loss_weights(TRAIN, by_class=True, by_group=False))
    assert given[1:] == [None, None, None]  # nor is validation weighted by class


def test_balanced_by_group_all_that_is_learnt_and_read_is_weighted(tmp_path: Path) -> None:
    groups = ["a", "a", "a", "a", "", "b"]
    settings = Training(epochs=1, patience=0, batch=20, class_weights=True, balance="group")
    model, (row,) = trained(settings, tmp_path / "state", valid=Examples(VALID.inputs, VALID.labels, groups))
    answers = model.predict_on_batch(VALID.inputs[0][0])
    weights = [1 / 4] * 4 + [1, 1]  # no class weights
    right = answers.argmax(1) == VALID.labels
    assert row["val_accuracy"] == pytest.approx(np.average(right, weights=weights))
    losses = -np.log(answers[np.arange(6), VALID.labels])
    assert row["val_loss"] == pytest.approx(np.average(losses, weights=weights), rel=1e-5)
    assert set(row) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}


@pytest.mark.tensorflow
def test_early_stopping_keeps_the_epoch_that_is_best_by_group(tmp_path: Path) -> None:
    valid = Examples(VALID.inputs, np.array([0, 0, 0, 0, 1, 2]), ["a", "a", "a", "a", "b", "c"])
    settings = Training(epochs=12, patience=12, batch=8, learning_rate=0.05, balance="group")
    model, history = trained(settings, tmp_path / "state", valid=valid)
    right = model.predict_on_batch(VALID.inputs[0][0]).argmax(1) == valid.labels
    accuracies = [row["val_accuracy"] for row in history]
    assert np.average(right, weights=[1, 1, 1, 1, 4, 4]) == pytest.approx(max(accuracies))
    assert min(accuracies) < max(accuracies)


@pytest.mark.tensorflow
def test_no_data_tunes_itself_for_that_thread_makes_epochs_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def noting(model: keras.Model, x: Any, *, validation_data: Any, **_: Any) -> None:
        given.extend([x, validation_data])

    monkeypatch.setattr(keras.Model, "fit", noting)
    trained(Training(epochs=1, batch=8), tmp_path / "state")
    assert [data.options().autotune.enabled for data in given] == [False, False]


@pytest.mark.parametrize(
    ("patience", "accuracies", "best"), [(0, [0.9, 0.1], 2), (5, [0.1, 0.9, 0.9], 2), (5, [0.9, 0.1], 1)]
)
def test_best_epoch_is_the_first_of_highest_accuracy_or_the_last(
    patience: int, accuracies: list[float], best: int
) -> None:
    history = [{"epoch": i + 1, "val_accuracy": value} for i, value in enumerate(accuracies)]
    assert best_epoch(history, Training(patience=patience)) == best


def test_a_loss_that_is_no_number_ends_the_fit_in_one_line_and_reaches_no_history(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    with pytest.raises(TrainingError, match="'net' is no longer a finite number in epoch 1; lower"):
        trained(Training(epochs=5, learning_rate=1e30, batch=8), tmp_path / "state", on_epoch=rows.append)
    assert rows == []
    assert not (tmp_path / "state").exists()


def out_of_memory_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def starve(self: Batches, index: int) -> None:
        raise MemoryError

    monkeypatch.setattr(Batches, "__getitem__", starve)


def out_of_memory_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def starve(*_: Any, **__: Any) -> None:
        from tensorflow.errors import ResourceExhaustedError

        raise ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith shape [1]")

    monkeypatch.setattr(keras.Model, "train_step", starve)


@pytest.mark.parametrize(
    "starve", [out_of_memory_in_a_batch, pytest.param(out_of_memory_in_a_step, marks=pytest.mark.tensorflow)]
)
@pytest.mark.parametrize(("batch", "half"), [(32, 16), (1, 1)])
def test_out_of_memory_names_half_the_batch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    starve: Callable[[pytest.MonkeyPatch], None],
    batch: int,
    half: int,
) -> None:
    starve(monkeypatch)
    with pytest.raises(TrainingError) as caught:
        trained(Training(epochs=1, batch=batch), tmp_path / "state")
    assert f"with batches of {batch}; set training.batch = {half} in the recipe" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ResourceExhaustedError", "OOM when allocating tensor"),
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("RuntimeError", "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        ("JaxRuntimeError", "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes"),
    ],
)
def test_out_of_memory_is_known_from_every_backend(kind: str, text: str) -> None:
    model, error = network(), type(kind, (RuntimeError,), {})(text)
    with (
        pytest.raises(TrainingError, match=r"set training.batch = 4 in the recipe"),
        fitting.out_of_memory_as_error(model, Training(batch=8)),
    ):
        raise error


def test_other_failures_are_not_taken_for_a_lack_of_memory(tmp_path: Path) -> None:
    def fail(row: dict[str, float]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(Training(epochs=1, batch=8), tmp_path / "state", on_epoch=fail)
