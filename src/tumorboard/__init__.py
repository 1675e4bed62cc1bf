"""Tumorboard: train, combine and honestly evaluate CNNs on labelled medical images.

    import tumorboard as tb

    run = tb.train("scans", "runs/first")                 # as `tumorboard train` does
    model, spec = tb.load_model(run.model("ensemble"))    # a plain keras.Model
    image = tb.read_input("slice.png", spec.image)        # or .dcm
    tb.predict(model, image[None])                        # (1, C) class probabilities

Research software, not a medical device.
"""

# What `tumorboard.isolation` does comes first: until then `import` may find a stranger's module.
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# TensorFlow reads this when it is first imported. Its oneDNN kernels are a third faster in training on a
# CPU without AVX-512, where it leaves them off; the bits are as repeatable as without them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

NOTICE = "Research software, not a medical device, not for diagnosis."

_EXPORTS = {
    "DataSource": ("tumorboard.data.manifest", "DataSource"),
    "Predictions": ("tumorboard.predictions", "Predictions"),
    "aligned": ("tumorboard.predictions", "aligned"),
    "audit": ("tumorboard.workflows.audit", "audit_data"),
    "combine": ("tumorboard.workflows.combine", "combine"),
    "evaluate": ("tumorboard.evaluation.scores", "evaluate"),
    "load_model": ("tumorboard.models.saving", "load_untrusted"),
    "load_recipe": ("tumorboard.config", "load"),
    "load_run": ("tumorboard.workflows.predictor", "load_run"),
    "predict": ("tumorboard.models.inference", "probabilities"),
    "read_input": ("tumorboard.data.image_reader", "read_input"),
    "split": ("tumorboard.workflows.split", "split"),
    "train": ("tumorboard.workflows.train", "train"),
}

__all__ = ["NOTICE", "__version__", *_EXPORTS]


def __getattr__(name: str) -> "Any":
    """Import what is asked for, when it is: `tumorboard --help` must not wait for Keras."""
    from importlib import import_module

    if name not in _EXPORTS:
        raise AttributeError(f"module 'tumorboard' has no attribute {name!r}")
    module, attribute = _EXPORTS[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
