"""The JSON replies of the API, and how they are made from a prediction and from the run's results."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from tumorboard import NOTICE, __version__
from tumorboard.data.left_out import png_notice
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError, RunFolderError, display
from tumorboard.predictions import classes_in
from tumorboard.run_folder import RunFolder
from tumorboard.server.uploads import DecodedUpload

if TYPE_CHECKING:  # which imports Keras
    from tumorboard.workflows.predictor import CombinedPrediction, ImagePrediction, RunPredictor

ALL_TEST_IMAGES = "all test images"
REFER = "Refer to a human reader: the confidence is below the run's threshold."
OUT_OF_DISTRIBUTION = (
    "This image is unlike the training images (out of distribution): the prediction cannot be relied on."
)


_ROUNDING = 1e-3  # of a sum of probabilities


class Problem(BaseModel):
    """The body of every error, whatever its status."""

    detail: str = Field(description="one line: what was expected, what was found, what to do")


class Limits(BaseModel):
    """Sizes above which an upload is refused."""

    bytes: int = Field(description="a larger file gets status 413")
    pixels: int = Field(description="a larger image gets status 422")


class Accuracy(BaseModel):
    """An accuracy with its 95% confidence interval."""

    subset: str = Field(description="which test images")
    value: float
    low: float
    high: float
    n: int


class ModelDescription(BaseModel):
    """A model of the run."""

    name: str
    test_accuracy: list[Accuracy] = Field(
        description="on all test images first, then on the subsets without leaks"
    )


class RunDescription(BaseModel):
    """The run whose models predict."""

    notice: str = NOTICE
    version: str = __version__
    class_names: list[str]
    recommended: str = Field(description="the model whose prediction is reported")
    models: list[ModelDescription]
    window: str = Field(
        description='the grey window that the models were trained with, "" for each file\'s own'
    )
    windows: list[str] = Field(description="presets; CENTER,WIDTH is accepted too")
    limits: Limits
    report: bool = Field(description="whether the run has a report to show at /report")


class ModelPrediction(BaseModel):
    """The output of a model, before calibration."""

    name: str
    prediction: str
    probabilities: dict[str, float] = Field(description="by class, uncalibrated")


class Answer(BaseModel):
    """The prediction of the recommended model, and the output of every model."""

    notice: str = NOTICE
    model: str = Field(description="the recommended model")
    prediction: str = Field(description="the class of the highest probability")
    confidence: float = Field(description="the highest of `probabilities`, 0-1")
    calibrated: bool = Field(description="whether `probabilities` are calibrated on validation")
    probabilities: dict[str, float] = Field(description="by class, of the recommended model")
    prediction_set: list[str] | None = Field(description="null where the run has no conformal calibration")
    refer: bool | None = Field(
        description="whether to refer to a human reader; null where the run has no threshold"
    )
    models: list[ModelPrediction]
    messages: list[str] = Field(description="the prediction in plain words, warnings first")


class Prediction(Answer):
    """The prediction for an image."""

    out_of_distribution: bool | None = Field(
        description="whether the image is unlike the training images; null where the run cannot tell"
    )
    notes: list[str] = Field(description="what to know about the file")
    windowed: bool = Field(description="whether a grey window may change it: DICOM, grey above 8 bits")
    patient: str | None = Field(
        description="a pseudonym of the patient (or series) of a DICOM file, or of a volume, "
        "until the server ends; else null"
    )
    slice: int | None = Field(description="the number of the slice of a volume, from 1; else null")
    slices: list[int] = Field(
        description="of a volume the numbers of the slices that the run uses, as in training; else empty"
    )
    preview: str = Field(description="base64 PNG of the models' input")


class PatientImages(BaseModel):
    """The predictions for the images of one patient."""

    images: list[list[ModelPrediction]] = Field(
        min_length=1, description="of each image the `models` of the reply of /api/predict"
    )


class PatientPrediction(Answer):
    """The prediction for a patient, from the predictions for the images."""

    method: Literal["mean", "log_odds", "any"] = Field(
        description="how the probabilities of the images were combined; chosen on validation"
    )
    contributions: list[float] = Field(
        description="how much each image speaks for the prediction; the highest decided most"
    )


class HeatMap(BaseModel):
    """A Grad-CAM heat map."""

    notice: str = NOTICE
    model: str
    target: str = Field(description="the class that the map explains")
    empty: bool = Field(description="nothing supports the class, or the model has no gradient, as a vote")
    layer: str = Field(description="base64 PNG with transparency, to lay over the preview")
    preview: str = Field(description="base64 PNG of the models' input")


def describe_prediction(
    predictor: "RunPredictor", upload: DecodedUpload, result: "ImagePrediction", notes: Sequence[str] = ()
) -> Prediction:
    """Make the reply to one upload from the prediction for it."""
    answer = _answer(predictor, result)
    answer["messages"] = [OUT_OF_DISTRIBUTION] * bool(result.out_of_distribution) + answer["messages"]
    return Prediction(
        **answer,
        out_of_distribution=result.out_of_distribution,
        notes=[*upload.notes, *notes],
        windowed=upload.windowed,
        patient=upload.patient or None,
        slice=upload.slice or None,
        slices=list(upload.slices),
        preview=png(upload.pixels),
    )


def describe_patient(predictor: "RunPredictor", content: bytes) -> PatientPrediction:
    """Make the reply for a patient from the JSON of `PatientImages`.

    Raises:
        DataError: Other JSON, or not the probabilities of the run's models and classes.
    """
    try:
        request = PatientImages.model_validate_json(content)
        images = [
            {
                model.name: [model.probabilities[label] for label in predictor.class_names]
                for model in image
                if model.name in predictor.names
            }
            for image in request.images
        ]
        values = np.array([[image[name] for name in predictor.names] for image in images], np.float64)
        valid = (values >= 0).all() and (abs(values.sum(axis=2) - 1) < _ROUNDING).all()
    except (ValueError, KeyError):
        valid = False
    if not valid:
        raise DataError(
            'expected {"images": [...]} with the `models` of a reply of /api/predict for each image, '
            "found something else"
        )
    result = predictor.combine(images)
    return PatientPrediction(
        **_answer(predictor, result),
        method=result.method,
        contributions=result.contributions.tolist(),
    )


def _answer(predictor: "RunPredictor", result: "CombinedPrediction | ImagePrediction") -> dict[str, Any]:
    """Return the fields of `Answer`."""
    class_names = predictor.class_names
    raw, calibrated = result.probabilities, result.calibrated
    row = raw[predictor.recommended] if calibrated is None else calibrated
    models = [
        ModelPrediction(
            name=name,
            prediction=class_names[int(probabilities.argmax())],
            probabilities=dict(zip(class_names, probabilities.tolist(), strict=True)),
        )
        for name, probabilities in raw.items()
    ]
    messages = [REFER] if result.refer else []
    messages += [agreement_message({model.name: model.prediction for model in models})]
    prediction_set = classes_in(result.prediction_set, class_names)
    messages += [] if prediction_set is None else [prediction_set_message(prediction_set)]
    return {
        "model": predictor.recommended,
        "prediction": class_names[int(row.argmax())],
        "confidence": float(row.max()),
        "calibrated": calibrated is not None,
        "probabilities": dict(zip(class_names, row.tolist(), strict=True)),
        "prediction_set": prediction_set,
        "refer": result.refer,
        "models": models,
        "messages": messages,
    }


def agreement_message(predictions: Mapping[str, str]) -> str:
    """Say which models predict which class, the most frequent first.

    Args:
        predictions: Class name by model name.
    """
    votes = list(predictions.values())
    classes = sorted(dict.fromkeys(votes), key=votes.count, reverse=True)
    if len(classes) == 1:
        models = f"All {len(votes)} models predict" if len(votes) > 1 else "The model predicts"
        return f"{models} {classes[0]}."
    parts = []
    for name in classes:
        voters = [model for model, vote in predictions.items() if vote == name]
        parts.append(f"{_enumerate(voters)} {'predicts' if len(voters) == 1 else 'predict'} {name}")
    return f"The models disagree: {'; '.join(parts)}."


def prediction_set_message(classes: Sequence[str]) -> str:
    """Say what a prediction set means."""
    if not classes:
        return "Prediction set: empty, no class fits well enough."
    if len(classes) == 1:
        return f"Prediction set: {classes[0]}; every other class is ruled out at the run's level."
    return f"Prediction set: {_enumerate(classes)} cannot be ruled out."


def _enumerate(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def read_test_accuracies(run: RunFolder) -> dict[str, list[Accuracy]]:
    """Read each model's test accuracy from metrics.json: on all images, and on the subsets without leaks.

    Raises:
        RunFolderError: The run is not finished, or its metrics.json is damaged.
    """
    try:
        metrics = json.loads(run.metrics.read_text("utf-8"))
        subsets: dict[str, Mapping[str, Any]] = {
            ALL_TEST_IMAGES: {name: model["splits"]["test"] for name, model in metrics["models"].items()}
        }
        subsets |= metrics["test_subsets"]
        return {
            name: [
                Accuracy(subset=title, **scores[name]["accuracy"])
                for title, scores in subsets.items()
                if name in scores and scores[name]["n"]
            ]
            for name in metrics["models"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunFolderError(
            f"expected the results of a finished run at {display(run.metrics)}, found none that can be read; "
            "finish it with `tumorboard train`"
        ) from error


def png(pixels: Pixels) -> str:
    """Encode uint8 pixels, (H, W, 3) or (H, W, 4), as the base64 text of a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1, pnginfo=png_notice())
    return base64.b64encode(file.getvalue()).decode("ascii")
