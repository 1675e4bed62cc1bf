"""The models of a finished run, loaded once: what they predict for an image, and how reliable that is.

The Python API, `tumorboard predict`, `evaluate` and the page all call `RunPredictor.predict`, one image per
call, so that they return the same bits.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np
import numpy.typing as npt

from tumorboard import config, run_folder
from tumorboard.data.image_reader import read_image, to_input
from tumorboard.data.pixels import Pixels
from tumorboard.ensembles.ensemble import check_compatible
from tumorboard.errors import RunFolderError, display
from tumorboard.evaluation import calibration, conformal
from tumorboard.evaluation.out_of_distribution import OutOfDistribution
from tumorboard.explain import gradcam
from tumorboard.export.exported_model import ExportedModel
from tumorboard.models import saving
from tumorboard.models.inference import merge_networks
from tumorboard.models.model_spec import LoadedModel, ModelSpec, embedding_model
from tumorboard.predictions import Probabilities
from tumorboard.run_folder import RunFolder, read_json
from tumorboard.training import fit
from tumorboard.workflows import calibrate

_EMBEDDING = "embedding of the recommended model"  # no model's name has spaces
_LARGEST_SHARE = 1 + 1e-6  # rounding


@dataclass(frozen=True)
class ImagePrediction:
    """What a run's models predict for one image; None where the run has no calibration of that kind.

    Attributes:
        probabilities: Class probabilities by model, (C,), uncalibrated.
        calibrated: The recommended model's after temperature scaling, (C,).
        prediction_set: bool (C,), the classes that cannot be ruled out.
        refer: Whether the confidence is so low that a human reader should decide.
        out_of_distribution: Whether the image is unlike the training images.
    """

    probabilities: Mapping[str, Probabilities]
    calibrated: Probabilities | None = None
    prediction_set: npt.NDArray[np.bool_] | None = None
    refer: bool | None = None
    out_of_distribution: bool | None = None


@dataclass(frozen=True)
class Reliability:
    """The recommended model's calibration; None where the run has no calibration of that kind.

    Attributes:
        temperature: Its logits are divided by this, > 0.
        quantile: The largest 1 - p of a class in a prediction set.
        refer_below: Predictions of less confidence are referred to a human reader.
        outlier_threshold: Images of a larger outlier score are out of distribution.
        detector: Computes the score from an embedding.
        embedding_model: Image -> embedding, (1, D).
    """

    temperature: float | None = None
    quantile: float | None = None
    refer_below: float | None = None
    outlier_threshold: float | None = None
    detector: OutOfDistribution | None = None
    embedding_model: keras.Model | None = None


@dataclass(frozen=True)
class RunPredictor:
    """The models of a run.

    Attributes:
        models: The networks by name.
        spec: The input and the classes that all of them share.
        recommended: The name of the model whose prediction is that of the run.
        reliability: Its calibration.
        engine: "keras", or the runtime that predicts.
        runtime: The networks there, in order, then the recommended model's embedding; None for Keras.
    """

    models: Mapping[str, keras.Model]
    spec: ModelSpec
    recommended: str
    reliability: Reliability = field(default_factory=Reliability)
    engine: str = "keras"
    runtime: ExportedModel | None = None

    @classmethod
    def of(cls, models: Mapping[str, LoadedModel], recommended: str) -> "RunPredictor":
        """Make a predictor without calibration; raises ModelError if models differ in classes or input."""
        pairs = [*models.values()]
        spec = check_compatible(pairs) if len(pairs) > 1 else pairs[0][1]
        return cls({name: model for name, (model, _) in models.items()}, spec, recommended)

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, the recommended one among them."""
        return tuple(self.models)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the probabilities."""
        return self.spec.class_names

    @property
    def image(self) -> config.Image:
        """Size, resize method, window and depth of grey."""
        return self.spec.image

    def read(self, source: str | Path | bytes) -> Pixels:
        """Read a file, or its bytes, as the models take it: uint8 (S, S, 3); raises DataError."""
        return self.read_with_notes(source)[0]

    def read_with_notes(
        self, source: str | Path | bytes | BinaryIO, name: str = ""
    ) -> tuple[Pixels, tuple[str, ...]]:
        """Read as `read` does, and return what the user should know about the file, such as further frames.

        `source` may also be an open file; `name` is what errors and notes call it, by default its path.
        """
        image = read_image(source, self.image, name=name)
        return to_input(image.pixels, self.image), image.notes

    def predict(self, pixels: Pixels) -> ImagePrediction:
        """Predict one image, uint8 (S, S, 3)."""
        if self.runtime is None:
            outputs = self._graph.predict_on_batch(pixels[None])
        else:
            values = self.runtime.predict_on_batch(pixels[None])
            outputs = dict(zip((*self.models, _EMBEDDING), values, strict=True))
        rows = {name: outputs[name][0].astype(np.float64) for name in self.models}
        known, embedding = self.reliability, outputs.get(_EMBEDDING)
        outlier = None
        if known.detector is not None and known.outlier_threshold is not None and embedding is not None:
            outlier = bool(known.detector.score(embedding)[0] > known.outlier_threshold)
        if known.temperature is None:
            return ImagePrediction(rows, out_of_distribution=outlier)
        row = calibration.scale_probabilities(rows[self.recommended][None], known.temperature)[0]
        inside = None if known.quantile is None else conformal.prediction_set(row[None], known.quantile)[0]
        refer = None if known.refer_below is None else bool(row.max() < known.refer_below)
        return ImagePrediction(rows, row, inside, refer, outlier)

    @functools.cached_property
    def _graph(self) -> keras.Model:
        """All networks and the embedding model as one graph, which computes shared layers once."""
        embedders = (
            {} if self.reliability.embedding_model is None else {_EMBEDDING: self.reliability.embedding_model}
        )
        return merge_networks({**self.models, **embedders})

    def heat_map(self, name: str, pixels: Pixels, target: int | None = None) -> gradcam.Map:
        """Compute the Grad-CAM map of a class, by default the predicted one: (S, S), 0 to 1."""
        return gradcam.heat_map(self.models[name], pixels, target)


def load_run(run: str | Path, models: Sequence[str] = ()) -> RunPredictor:
    """Load a finished run's models, each after its hash was compared with the run's SHA256SUMS.

    Args:
        run: The run folder.
        models: Their names; all by default. If the recommended model is not among them, the ensemble or the
            first model takes its place.

    Raises:
        RunFolderError: No finished run, or a damaged file in it.
        UsageError: An unknown model.
        ModelError: A model that is not what was trained, or cannot be loaded.
    """
    folder = RunFolder(Path(run))
    hashes = run_folder.read_checksums(folder)
    names, recommended = run_folder.select_models(folder, hashes, models)
    environment = read_json(folder.environment) if folder.environment.is_file() else {}
    threads = environment.get("threads", 0)  # as in training: another number sums in another order
    fit.prepare_backend(0, threads if isinstance(threads, int) and 0 <= threads <= 256 else 0)
    loaded: dict[str, LoadedModel] = {}
    for name in names:
        for file in (folder.model(name), folder.model_spec(name)):
            run_folder.verify(file, hashes)
        loaded[name] = saving.load(folder.model(name))
    reliability = read_reliability(folder, recommended, loaded[recommended][0], hashes)
    return replace(RunPredictor.of(loaded, recommended), reliability=reliability)


def read_reliability(run: RunFolder, name: str, model: keras.Model, hashes: dict[str, str]) -> Reliability:
    """Read a model's calibration from calibration.json; all None if there is no such file.

    Raises:
        RunFolderError: The file is damaged.
        ModelError: The file of the out-of-distribution detector is not the one that was written.
    """
    fitted = calibrate.read(run).get(name)
    if fitted is None:
        return Reliability()
    # No hash protects this file, and a wrong number would change predictions unnoticed.
    shares = [share for share in (fitted.quantile, fitted.refer_below) if share is not None]
    if not 0 < fitted.temperature < math.inf or any(not 0 <= share <= _LARGEST_SHARE for share in shares):
        raise RunFolderError(
            f"expected a temperature above 0 and shares from 0 to 1 in {display(run.calibration)}, "
            "found others; restore the file, or delete it to predict without calibration"
        )
    known = Reliability(fitted.temperature, fitted.quantile, fitted.refer_below)
    if fitted.ood_threshold is None:
        return known
    file = run.out_of_distribution(name)
    run_folder.verify(file, hashes)
    detector = OutOfDistribution.from_bytes(file.read_bytes(), display(file))
    return replace(
        known,
        outlier_threshold=fitted.ood_threshold,
        detector=detector,
        embedding_model=embedding_model(model),
    )
