"""The Keras backend: seeds and threads pinned, so that the same seed gives the same bits on a CPU."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tumorboard import progress
from tumorboard.config import Training
from tumorboard.errors import TrainingError
from tumorboard.training import checkpoint
from tumorboard.training.batches import Batches, feed
from tumorboard.training.checkpoint import Row
from tumorboard.training.feature_cache import Views


def prepare_backend(seed: int, threads: int) -> None:
    """Seed everything, and pin the number of threads: another number sums in another order.

    Threads are pinned on TensorFlow only, and only before it has run anything in this process.
    """
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.get_logger().setLevel(
            "ERROR"
        )  # a board of models is traced model by model, and need not be told so

        with contextlib.suppress(RuntimeError):  # already running: too late to change
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)


@dataclass(frozen=True)
class Examples:
    """What a network is fitted on: per input and view an array (N, ...), and (N,) labels."""

    inputs: Views
    labels: np.ndarray


def fit(
    model: keras.Model,
    train: Examples,
    valid: Examples,
    settings: Training,
    *,
    state: Path,
    seed: int,
    on_epoch: Callable[[Row], None] = lambda row: None,
    listeners: Sequence[keras.callbacks.Callback] = (),
) -> list[Row]:
    """Train the model in place, resuming from `state` if it is there; the best epoch's weights remain.

    Without patience the last epoch's weights remain, or their moving average; the history's rows are of the
    weights as they were in each epoch. Listeners are callbacks that change nothing.

    Returns:
        A row an epoch: epoch, loss, accuracy, val_loss, val_accuracy.

    Raises:
        TrainingError: The loss is no finite number, or memory ran out.
        Interrupted: A signal asked to stop; the last whole epoch is kept.
    """
    _compile(model, settings, math.ceil(len(train.labels) / settings.batch))
    resumed = checkpoint.read(state)
    early = _early_stopping(settings)
    keeper = checkpoint.Checkpoint(state, resumed, early, on_epoch)
    weights = class_weights(train.labels) if settings.class_weights else None
    batches = Batches(train.inputs, train.labels, settings.batch, order=seed, weights=weights)
    draw = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.draw(epoch + 1))
    with _memory_named(model, settings):
        model.fit(
            feed(batches),
            validation_data=feed(Batches(valid.inputs, valid.labels, settings.batch)),
            initial_epoch=resumed.epoch,
            epochs=resumed.epoch if resumed.stopped else settings.epochs,
            shuffle=False,  # the batches shuffle themselves
            callbacks=[draw, *listeners, *([early] if early else []), keeper],
            verbose=0,
        )
        if settings.average:
            _settle_norms(model, Batches(train.inputs, train.labels, settings.batch, order=seed))
    return resumed.history


def _settle_norms(model: keras.Model, batches: Batches) -> None:
    """Let fitted batch norms see what averaged weights make of train, in one pass (Izmailov et al. 2018)."""
    for number in range(len(batches)):
        progress.stop_if_asked()
        model(batches[number][0], training=True)


def class_weights(labels: np.ndarray) -> np.ndarray:
    """(N,) weights that make every class count the same: N / (C * n_c), as scikit-learn's "balanced"."""
    counts = np.bincount(labels)
    weights = len(labels) / (np.count_nonzero(counts) * counts[labels])
    return np.asarray(weights, dtype=np.float32)


def best_epoch(history: list[Row], settings: Training) -> int:
    """The epoch whose weights remain: the first of highest validation accuracy, or the last."""
    if settings.patience == 0:
        return int(history[-1]["epoch"])
    return int(max(history, key=lambda row: row["val_accuracy"])["epoch"])


def _early_stopping(settings: Training) -> keras.callbacks.EarlyStopping | None:
    if settings.patience == 0:
        return None
    return keras.callbacks.EarlyStopping(
        "val_accuracy", mode="max", patience=settings.patience, restore_best_weights=True
    )


def _compile(model: keras.Model, settings: Training, steps: int) -> None:
    kinds = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
    decay = {"weight_decay": settings.weight_decay} if settings.optimizer == "adamw" else {}
    average = {"use_ema": True, "ema_momentum": settings.average} if settings.average else {}
    optimizer = kinds[settings.optimizer](_learning_rate(settings, steps), **decay, **average)
    if settings.optimizer == "adamw":
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # XLA on a CPU is several times slower on convolutions than TensorFlow's own kernels.
    model.compile(optimizer, _loss(settings.label_smoothing), metrics=["accuracy"], jit_compile=False)
    optimizer.build(model.trainable_variables)


def _learning_rate(settings: Training, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Constant, or one cycle: a quarter of the steps up from a tenth, then a cosine down to nothing."""
    if settings.schedule == "constant":
        return settings.learning_rate
    total = settings.epochs * steps
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / 10,
        decay_steps=total - total // 4,
        alpha=0.0,
        warmup_target=settings.learning_rate,
        warmup_steps=total // 4,
    )


def _loss(smoothing: float) -> Callable[..., object] | str:
    """Sparse categorical cross-entropy, with smoothed targets if wanted (Szegedy et al. 2016)."""
    if smoothing == 0:
        return "sparse_categorical_crossentropy"

    def smoothed(labels: object, probabilities: object) -> object:
        classes = probabilities.shape[-1]  # type: ignore[attr-defined]
        targets = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32"), classes)
        return keras.losses.categorical_crossentropy(targets, probabilities, label_smoothing=smoothing)

    return smoothed


@contextlib.contextmanager
def _memory_named(model: keras.Model, settings: Training) -> Iterator[None]:
    """Turn any backend's out-of-memory into one line with the next step."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":
            raise
        raise TrainingError(
            f"memory ran out while fitting {model.name!r} with batches of {settings.batch}; "
            f"set training.batch = {max(1, settings.batch // 2)} in the recipe and train into a new folder"
        ) from error
