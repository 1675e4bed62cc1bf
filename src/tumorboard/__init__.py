"""Tumorboard: train, combine and honestly evaluate CNNs on labelled medical images.

    import tumorboard as tb

    run = tb.train("scans", "runs/first")                 # every command has its function
    tb.predict(run.root, ["slice.png"], "predictions.csv")
    predictor = tb.load_run(run.root)
    predictor.predict(predictor.read("slice.png"))        # all models, calibrated
    model, spec = tb.load_model(run.model("ensemble"))    # a plain keras.Model
    image = tb.read_input("slice.png", spec.image)        # or .dcm
    tb.probabilities(model, image[None])                  # (1, C) class probabilities

Research software, not a medical device.
"""

# What `tumorboard.isolation` does comes first: until then `import` may find a stranger's module.
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any
else:
    ModuleType = type(sys)

# TensorFlow reads this when it is first imported. Its oneDNN kernels are a third faster in training on a
# CPU without AVX-512, where it leaves them off; the bits are as repeatable as without them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

NOTICE = "Research software, not a medical device, not for diagnosis."

_EXPORTS = {
    # The verbs of the command line.
    "audit": ("tumorboard.workflows.audit", "audit_data"),
    "combine": ("tumorboard.workflows.combine", "combine"),
    "compare": ("tumorboard.workflows.evaluate", "compare"),
    "cross_validate": ("tumorboard.workflows.cross_validation", "cross_validate"),
    "demo": ("tumorboard.workflows.datasets", "demo"),
    "evaluate": ("tumorboard.workflows.evaluate", "evaluate_data"),
    "evaluate_predictions": ("tumorboard.workflows.evaluate", "evaluate_predictions"),
    "explain": ("tumorboard.workflows.explain", "explain"),
    "export": ("tumorboard.workflows.export", "export"),
    "fetch": ("tumorboard.workflows.datasets", "fetch"),
    "predict": ("tumorboard.workflows.batch_predict", "predict_files"),
    "report": ("tumorboard.workflows.report", "report"),
    "split": ("tumorboard.workflows.split", "split"),
    "train": ("tumorboard.workflows.train", "train"),
    "tune": ("tumorboard.workflows.tune", "tune"),
    # Building blocks.
    "DataSource": ("tumorboard.data.manifest", "DataSource"),
    "Predictions": ("tumorboard.predictions", "Predictions"),
    "aligned": ("tumorboard.predictions", "aligned"),
    "load_model": ("tumorboard.models.saving", "load_untrusted"),
    "load_recipe": ("tumorboard.config", "load"),
    "load_run": ("tumorboard.workflows.predictor", "load_run"),
    "probabilities": ("tumorboard.models.inference", "probabilities"),
    "read_input": ("tumorboard.data.image_reader", "read_input"),
    "score": ("tumorboard.evaluation.scores", "score"),
}

__all__ = ["NOTICE", "__version__", *_EXPORTS]


def __getattr__(name: str) -> "Any":
    """Import what is asked for, when it is: `tumorboard --help` must not wait for Keras."""
    from importlib import import_module

    if name not in _EXPORTS:
        raise AttributeError(f"module 'tumorboard' has no attribute {name!r}")
    module, attribute = _EXPORTS[name]
    return getattr(import_module(module), attribute)


class _Package(ModuleType):
    """Keeps a verb such as `audit` from being hidden by the subpackage of its name, once that is imported."""

    def __setattr__(self, name: str, value: "Any") -> None:
        if not (name in _EXPORTS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted(__all__)
