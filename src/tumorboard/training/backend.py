"""The Keras backend: seeds and threads pinned, so that the same seed gives the same bits on a CPU."""

import contextlib

import keras


def prepare(seed: int, threads: int) -> None:
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
