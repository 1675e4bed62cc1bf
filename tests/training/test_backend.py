import json
import subprocess
import sys

import keras
import numpy as np

from tumorboard.training import fit

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


def test_threads_are_pinned_before_anything_runs_and_left_alone_after() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, timeout=120
    )
    assert json.loads(ran.stdout) == [1, 1]


def test_the_same_seed_draws_the_same() -> None:
    def draw(seed: int) -> np.ndarray:
        fit.prepare_backend(seed, 0)
        return np.asarray(keras.random.normal((5,)))

    np.testing.assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
