"""The tests; TensorFlow's kernels are left at its default, for its notes about them go to stderr."""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
