"""The models of a finished run, opened once: what they predict for an image, and how reliable that is.

The Python API, `tumorboard predict` and the page all call `RunPredictor.predict`, one image per call, so that
they return the same bits. It computes the run's joint graph, which needs no Keras; the networks themselves
are loaded only for heat maps, for `evaluate`, and where the graph cannot be used.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from tumorboard import config, optional, run_folder
from tumorboard.data.image_reader import read_image, to_input
from tumorboard.data.pixels import Pixels
from tumorboard.errors import ModelError, RunFolderError, UsageError, display
from tumorboard.evaluation import calibration, conformal, patients
from tumorboard.evaluation.out_of_distribution import OutOfDistribution
from tumorboard.evaluation.patients import PatientRule
from tumorboard.evaluation.selective_prediction import MIN_NOT_REFERRED
from tumorboard.export.exported_model import open_exported, record_path
from tumorboard.export.formats import EMBEDDING, Array
from tumorboard.predictions import Probabilities
from tumorboard.run_folder import RunFolder, read_json
from tumorboard.workflows import calibrate

if TYPE_CHECKING:  # Keras, seconds to import
    import keras

    from tumorboard.explain.gradcam import Map
    from tumorboard.models.model_spec import LoadedModel

ONNX, KERAS = "onnx", "keras"
ENGINES = (ONNX, KERAS)
"""What can compute a run's predictions: its joint graph in ONNX Runtime, or the networks in Keras."""


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
class CombinedPrediction:
    """What a run's models predict for a patient, from N images; None as in `ImagePrediction`.

    Attributes:
        probabilities: Class probabilities by model, (C,), combined uncalibrated.
        calibrated: The recommended model's, combined after temperature scaling, (C,).
        answer: `calibrated`, or without a calibration the recommended model's of `probabilities`.
        prediction_set: bool (C,), the classes that cannot be ruled out.
        refer: Whether the confidence is so low that a human reader should decide.
        method: How the recommended model's probabilities were combined, one of `patients.METHODS`.
        contributions: (N,), how much each image speaks for the prediction, see `patients.contributions`.
    """

    probabilities: Mapping[str, Probabilities]
    calibrated: Probabilities | None
    answer: Probabilities
    prediction_set: npt.NDArray[np.bool_] | None
    refer: bool | None
    method: str
    contributions: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """The recommended model's calibration; None where the run has no calibration of that kind.

    Attributes:
        temperature: Its logits are divided by this, > 0.
        quantile: The largest 1 - p of a class in a prediction set.
        refer_below: Predictions of less confidence are referred to a human reader.
        outlier_threshold: Images of a larger outlier score are out of distribution.
        detector: Computes the score from an embedding.
    """

    temperature: float | None = None
    quantile: float | None = None
    refer_below: float | None = None
    outlier_threshold: float | None = None
    detector: OutOfDistribution | None = None


@dataclass(frozen=True)
class RunPredictor:
    """The models of a run.

    Attributes:
        names: The models' names, the recommended one among them.
        recommended: The name of the model whose prediction is that of the run.
        class_names: The classes in the order of the probabilities.
        image: Size, resize method, and window of DICOM.
        load_networks: Returns the networks in Keras, by name.
        reliability: The recommended model's calibration.
        patient_rules: By model, how predictions of a patient's images are combined; by their mean without.
        graph: (1, S, S, 3) pixels -> the outputs of the joint graph by name; None if Keras predicts.
        fallback: Why Keras predicts, although the joint graph was wanted; "" otherwise.
    """

    names: tuple[str, ...]
    recommended: str
    class_names: tuple[str, ...]
    image: config.Image
    load_networks: "Callable[[], Mapping[str, keras.Model]]"
    reliability: Reliability = field(default_factory=Reliability)
    patient_rules: Mapping[str, PatientRule] = field(default_factory=dict)
    graph: Callable[[Pixels], Mapping[str, Array]] | None = None
    fallback: str = ""

    @classmethod
    def of(cls, models: "Mapping[str, LoadedModel]", recommended: str) -> "RunPredictor":
        """Make a predictor without calibration; raises ModelError if models differ in classes or input."""
        from tumorboard.ensembles.ensemble import check_compatible

        pairs = [*models.values()]
        spec = check_compatible(pairs) if len(pairs) > 1 else pairs[0][1]
        networks = {name: model for name, (model, _) in models.items()}
        return cls(tuple(networks), recommended, spec.class_names, spec.image, lambda: networks)

    @property
    def engine(self) -> str:
        """What predicts, one of `ENGINES`."""
        return KERAS if self.graph is None else ONNX

    @functools.cached_property
    def models(self) -> "Mapping[str, keras.Model]":
        """The networks in Keras, by name; loaded when they are first needed."""
        return self.load_networks()

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
        outputs = (self.graph or self._keras_graph.predict_on_batch)(pixels[None])
        rows = {name: outputs[name][0].astype(np.float64) for name in self.names}
        known = self.reliability
        outlier = None
        if known.detector is not None and known.outlier_threshold is not None:
            score = known.detector.score(outputs[embedding_output(self.recommended)])[0]
            outlier = bool(score > known.outlier_threshold)
        if known.temperature is None:
            return ImagePrediction(rows, out_of_distribution=outlier)
        row = calibration.scale_probabilities(rows[self.recommended][None], known.temperature)[0]
        inside = None if known.quantile is None else conformal.prediction_set(row[None], known.quantile)[0]
        refer = None if known.refer_below is None else bool(row.max() < known.refer_below)
        return ImagePrediction(rows, row, inside, refer, outlier)

    def combine(self, images: Sequence[Mapping[str, npt.ArrayLike]]) -> CombinedPrediction:
        """Predict a patient from `ImagePrediction.probabilities` of one image or more."""
        positive = patients.positive_class(self.class_names)
        methods = {name: self.patient_rules.get(name, patients.UNCHOSEN).method for name in self.names}
        values = {name: np.array([image[name] for image in images], np.float64) for name in self.names}
        rows = {name: patients.combine(values[name], methods[name], positive) for name in self.names}
        known, method, own = self.reliability, methods[self.recommended], values[self.recommended]
        rule, calibrated, inside = self.patient_rules.get(self.recommended, patients.UNCHOSEN), None, None
        if known.temperature is not None:
            own = calibration.scale_probabilities(own, known.temperature)
            calibrated = patients.combine(own, method, positive)
        answer = rows[self.recommended] if calibrated is None else calibrated
        if rule.quantile is not None and calibrated is not None:
            inside = conformal.prediction_set(answer[None], rule.quantile)[0]
        # Of too few patients for a threshold of their own, that of images is used.
        threshold = rule.refer_below if rule.n >= MIN_NOT_REFERRED else known.refer_below
        refer = None if threshold is None or calibrated is None else bool(answer.max() < threshold)
        shares = patients.contributions(own, method, int(answer.argmax()), positive)
        return CombinedPrediction(rows, calibrated, answer, inside, refer, method, shares)

    @functools.cached_property
    def _keras_graph(self) -> "keras.Model":
        """All networks and the embedding model as one graph, which computes shared layers once."""
        from tumorboard.models.inference import merge_networks

        has_score = self.reliability.detector is not None
        return merge_networks(joint_networks(self.models, self.recommended) if has_score else self.models)

    def heat_map(self, name: str, pixels: Pixels, target: int | None = None) -> "Map":
        """Compute the Grad-CAM map of a class, by default the predicted one: (S, S), 0 to 1."""
        from tumorboard.explain import gradcam

        return gradcam.heat_map(self.models[name], pixels, target)


def load_run(run: str | Path, models: Sequence[str] = (), *, engine: str = ONNX) -> RunPredictor:
    """Open a finished run's models; each file is compared with the run's SHA256SUMS before it is opened.

    Args:
        run: The run folder.
        models: Their names; all by default. If the recommended model is not among them, the ensemble or the
            first model takes its place.
        engine: "onnx" computes the run's joint graph, and Keras only if there is none that can be used,
            which `RunPredictor.fallback` then explains; "keras" loads the networks.

    Raises:
        RunFolderError: No finished run, or a damaged file in it.
        UsageError: An unknown model or engine.
        ModelError: A model that is not what was trained, or cannot be loaded.
    """
    if engine not in ENGINES:
        raise UsageError(f"expected an engine ({', '.join(ENGINES)}), found {engine[:40]!r}")
    folder = RunFolder(Path(run))
    hashes = run_folder.read_checksums(folder)
    names, recommended = run_folder.select_models(folder, hashes, models)
    reliability = read_reliability(folder, recommended, hashes)
    rules = calibrate.read_patient_rules(folder)
    fallback = ""
    if engine == ONNX:
        try:
            predictor = _open_joint_graph(folder, hashes, names, recommended, reliability)
            return replace(predictor, patient_rules=rules)
        except (ModelError, UsageError) as error:
            fallback = str(error)
    predictor = RunPredictor.of(load_networks(folder, hashes, names), recommended)
    return replace(predictor, reliability=reliability, patient_rules=rules, fallback=fallback)


def frames_of_training(run: RunFolder, hashes: Mapping[str, str]) -> config.Frames:
    """Return which slices of volumes a run's models were trained on.

    Raises:
        RunFolderError: A damaged specification.
    """
    names, _ = run_folder.select_models(run, hashes, ())
    spec = run.model_spec(names[0])
    with run_folder.reading(spec):
        return config.Image.model_validate(read_json(spec).get("image", {})).frames


def load_networks(
    run: RunFolder, hashes: Mapping[str, str], names: Sequence[str]
) -> "dict[str, LoadedModel]":
    """Load networks of a run in Keras, each after its hash was compared.

    Raises:
        ModelError: One is not what was trained, or cannot be loaded.
    """
    for name in names:
        for file in (run.model(name), run.model_spec(name)):
            run_folder.verify(file, hashes)
    from tumorboard.models import saving  # Keras, seconds to import
    from tumorboard.training import fit

    environment = read_json(run.environment) if run.environment.is_file() else {}
    threads = environment.get("threads", 0)  # as in training: another number sums in another order
    fit.prepare_backend(0, threads if isinstance(threads, int) and 0 <= threads <= 256 else 0)
    return {name: saving.load(run.model(name)) for name in names}


def joint_networks(models: "Mapping[str, keras.Model]", recommended: str) -> "dict[str, keras.Model]":
    """Return what a joint graph computes, by name: all models, and the recommended one's embedding."""
    from tumorboard.models.model_spec import embedding_model

    return {**models, embedding_output(recommended): embedding_model(models[recommended])}


def embedding_output(name: str) -> str:
    """Return the name of a joint graph's output that is the embedding of a model."""
    return f"{name}:{EMBEDDING}"


def _open_joint_graph(
    run: RunFolder,
    hashes: Mapping[str, str],
    names: tuple[str, ...],
    recommended: str,
    reliability: Reliability,
) -> RunPredictor:
    """Open the graph if it is undamaged, and of these models.

    Raises:
        ModelError: It is not.
        UsageError: ONNX Runtime is not installed.
    """
    optional.require("the joint graph", "onnx", "onnxruntime")
    file = run.joint_graph
    if file.name not in hashes:
        raise ModelError(
            f"expected {display(file)}, found no such file in SHA256SUMS; make it with "
            f"tumorboard export {display(run.root)} --model all --format onnx"
        )
    for part in (file, record_path(file)):
        run_folder.verify(part, hashes)
    record = read_json(record_path(file))
    try:
        outputs, class_names = tuple(record["outputs"]), tuple(map(str, record["class_names"]))
        image = config.Image.model_validate(record["image"])
        networks = [output for output in outputs if ":" not in output]
        same = record["model_sha256"] == run_folder.digest_of_networks(hashes, networks)
    except (KeyError, TypeError, ValueError):
        same, outputs = False, ()
    needed = {*names, *([embedding_output(recommended)] if reliability.detector else ())}
    if not same or not needed <= set(outputs):
        raise ModelError(
            f"expected {display(file)} to be of the run's models, found others; make it again with "
            f"tumorboard export {display(run.root)} --model all --format onnx"
        )
    exported = open_exported(file, ONNX, image.size)

    def compute(pixels: Pixels) -> dict[str, Array]:
        return dict(zip(outputs, exported.predict_on_batch(pixels), strict=True))

    def load() -> "dict[str, keras.Model]":
        return {name: model for name, (model, _) in load_networks(run, hashes, names).items()}

    return RunPredictor(names, recommended, class_names, image, load, reliability, graph=compute)


def read_reliability(run: RunFolder, name: str, hashes: Mapping[str, str]) -> Reliability:
    """Read a model's calibration from calibration.json; all None if there is no such file.

    Raises:
        RunFolderError: The file is damaged.
        ModelError: The file of the out-of-distribution detector is not the one that was written.
    """
    fitted = calibrate.read(run).get(name)
    if fitted is None:
        return Reliability()
    # No hash protects this file, and a wrong number would change predictions unnoticed.
    shares = fitted.quantile, fitted.refer_below
    if not 0 < fitted.temperature < math.inf or not calibrate.are_shares(*shares):
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
    return replace(known, outlier_threshold=fitted.ood_threshold, detector=detector)
