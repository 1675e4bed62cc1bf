"""Fitting a network: backend, optimizer, schedule, loss, early stopping and resume."""

import contextlib
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tumorboard import backend, progress
from tumorboard.config import Training
from tumorboard.errors import TrainingError
from tumorboard.training import checkpoint
from tumorboard.training.batches import Batches, as_dataset
from tumorboard.training.checkpoint import EpochMetrics
from tumorboard.training.feature_cache import Views

_OUT_OF_MEMORY = re.compile(  # TensorFlow; PyTorch on a GPU, on a CPU; JAX
    "^(ResourceExhaustedError|OutOfMemoryError)|DefaultCPUAllocator|RESOURCE_EXHAUSTED"
)


def prepare_backend(seed: int, threads: int) -> None:
    """Set Keras's settings, all seeds and the number of threads: the same seed gives the same bits on a CPU.

    Another number of threads sums in another order. On TensorFlow it is set only if TensorFlow has not run
    anything in this process yet; JAX has no such setting.
    """
    backend.use_settings()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "torch" and threads:
        sys.modules["torch"].set_num_threads(threads)  # not imported here: torch can unpickle
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # several models are traced one after the other: no warning of it
        with contextlib.suppress(RuntimeError):  # already running: too late to change
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)


@dataclass(frozen=True)
class Examples:
    """Training or validation rows of a network.

    Args:
        inputs: Per input and view an array (N, ...).
        labels: (N,) class numbers.
        groups: (N,) names of the rows' groups (patients), "" for none; only `balance` = "group" needs them.
    """

    inputs: Views
    labels: np.ndarray
    groups: Sequence[str] = ()


def fit(
    model: keras.Model,
    train: Examples,
    valid: Examples,
    settings: Training,
    *,
    state: Path,
    seed: int,
    on_epoch: Callable[[EpochMetrics], None] = lambda row: None,
    listeners: Sequence[keras.callbacks.Callback] = (),
) -> list[EpochMetrics]:
    """Train a network in place, resuming from `state` if that file exists; the best epoch's weights remain.

    Without patience the weights of the last epoch remain, or their moving average; the rows of the history
    are those of the weights of each epoch. With `balance` = "group" they are weighted by group.

    Args:
        model: The network.
        train: Rows that it is fitted on.
        valid: Rows that its epochs are compared on.
        settings: The recipe's section.
        state: The checkpoint file.
        seed: Seed of the order and the views.
        on_epoch: Called with each new row of the history.
        listeners: Further callbacks, which change nothing.

    Returns:
        One row per epoch: epoch, loss, accuracy, val_loss, val_accuracy.

    Raises:
        TrainingError: The loss is not finite, or memory ran out.
        Interrupted: A signal asked to stop; the last whole epoch is kept.
    """
    compile_model(model, settings, math.ceil(len(train.labels) / settings.batch))
    resumed = checkpoint.read_state(state)
    early = None
    if settings.patience:
        early = keras.callbacks.EarlyStopping(
            "val_accuracy", mode="max", patience=settings.patience, restore_best_weights=True
        )
    by_group = settings.balance == "group"
    weights = loss_weights(train, by_class=settings.class_weights, by_group=by_group)
    batches = Batches(train.inputs, train.labels, settings.batch, order=seed, weights=weights)
    valid_weights = loss_weights(valid, by_class=False, by_group=by_group)
    valid_batches = Batches(valid.inputs, valid.labels, settings.batch, weights=valid_weights)
    draw = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.draw(epoch + 1))
    keeper = checkpoint.Checkpoint(state, resumed, early, on_epoch)
    with out_of_memory_as_error(model, settings):
        model.fit(
            as_dataset(batches),
            validation_data=as_dataset(valid_batches),
            initial_epoch=resumed.epoch,
            epochs=resumed.epoch if resumed.stopped else settings.epochs,
            shuffle=False,  # the batches shuffle themselves
            callbacks=[draw, *listeners, *([early] if early else []), keeper],
            verbose=0,
        )
        if settings.average:
            _update_batch_norms(model, Batches(train.inputs, train.labels, settings.batch, order=seed))
    return resumed.history


def _update_batch_norms(model: keras.Model, batches: Batches) -> None:
    """Update trained batch norms for averaged weights in one pass (Izmailov et al. 2018)."""
    for number in range(len(batches)):
        progress.stop_if_asked()
        model(batches[number][0], training=True)


@contextlib.contextmanager
def out_of_memory_as_error(model: keras.Model, settings: Training) -> Iterator[None]:
    """Raise TrainingError, with the remedy, for the out-of-memory error of any backend."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(
            f"{type(error).__name__}: {error}"
        ):
            raise
        raise TrainingError(
            f"memory ran out while fitting {model.name!r} with batches of {settings.batch}; "
            f"set training.batch = {max(1, settings.batch // 2)} in the recipe and train into a new folder"
        ) from error


def compile_model(model: keras.Model, settings: Training, steps: int) -> None:
    """Set optimizer, learning rate schedule, loss and metrics of a network.

    Args:
        model: The network.
        settings: The recipe's section.
        steps: Batches per epoch. The schedule "one-cycle" rises for a quarter of all steps from a tenth of
            the learning rate, then falls to zero by a cosine.
    """
    rate: float | keras.optimizers.schedules.LearningRateSchedule = settings.learning_rate
    if settings.schedule == "one-cycle":
        total = settings.epochs * steps
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=settings.learning_rate / 10,
            decay_steps=total - total // 4,
            alpha=0.0,
            warmup_target=settings.learning_rate,
            warmup_steps=total // 4,
        )
    options: dict[str, Any] = {}
    if settings.average:
        options |= {"use_ema": True, "ema_momentum": settings.average}
    if settings.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, **options)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    else:
        optimizer = keras.optimizers.Adam(rate, **options)

    def smoothed_loss(labels: Any, probabilities: Any) -> Any:
        """Categorical cross-entropy with smoothed targets (Szegedy et al. 2016)."""
        classes = probabilities.shape[-1]
        targets = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32"), classes)
        return keras.losses.categorical_crossentropy(
            targets, probabilities, label_smoothing=settings.label_smoothing
        )

    loss = smoothed_loss if settings.label_smoothing else "sparse_categorical_crossentropy"
    accuracy = {"weighted_metrics" if settings.balance == "group" else "metrics": ["accuracy"]}
    # XLA on a CPU is several times slower on convolutions than TensorFlow's own kernels.
    model.compile(optimizer, loss, **accuracy, jit_compile=False)
    optimizer.build(model.trainable_variables)


def loss_weights(examples: Examples, *, by_class: bool, by_group: bool) -> np.ndarray | None:
    """Return (N,) weights of the rows, 1 on average; None if all weigh the same.

    Args:
        examples: The N rows.
        by_class: Every class has the same total; without groups these are the "balanced" weights of
            scikit-learn, N / (C * n_c).
        by_group: Every group has the same total, with `by_class` among the groups of its class. A row without
            a group is a group of its own.
    """
    if not (by_class or by_group):
        return None
    labels, weights = examples.labels, np.ones(len(examples.labels))
    if by_group:
        names = [group or row for row, group in enumerate(examples.groups or [""] * len(labels))]
        sizes = Counter(names)
        weights = np.array([1 / sizes[name] for name in names])
    totals = np.bincount(labels, weights)[labels] if by_class else weights.sum()
    classes = len(np.unique(labels)) if by_class else 1
    return np.asarray(len(labels) * weights / (classes * totals), dtype=np.float32)


def best_epoch(history: list[EpochMetrics], settings: Training) -> int:
    """Return the epoch whose weights remain: the first of highest validation accuracy, or the last."""
    if settings.patience == 0:
        return int(history[-1]["epoch"])
    return int(max(history, key=lambda row: row["val_accuracy"])["epoch"])
