"""Which test images a person should look at, with every model's prediction; sheets of near duplicates."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.cells import chop_cells

from tumorboard import config
from tumorboard.data.image_reader import read_image, to_input
from tumorboard.data.left_out import png_notice
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError
from tumorboard.evaluation.error_agreement import disagreement
from tumorboard.predictions import Predictions, aligned
from tumorboard.reports.document import Block, CaptionedImage, Card, Cards, Paragraph, Samples, Section
from tumorboard.reports.names import font_file, printable
from tumorboard.reports.run_results import RunResults

MOST = 8
"""Images per list."""
PICTURE_SIDE = 256
"""Pixels of the longer side of a picture in the report."""
_SAMPLES, _MOST_SAMPLES = 3, 24  # per class, and of all classes
_SHEET_IMAGE = config.Image(size=180, resize="pad")
_SIDE, _CAPTION, _GAP = 180, 30, 8
_COLUMNS, _ROWS = 5, 40
_LETTERS, _LETTER_SIZE = 28, 10  # per line of a caption, and in pixels


def most_confident_errors(predictions: Predictions) -> list[int]:
    """Return at most `MOST` rows of wrong predictions, those of highest probability first."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    confidence = predictions.probabilities.max(axis=1)[wrong]
    return [int(row) for row in wrong[np.argsort(-confidence, kind="stable")][:MOST]]


def most_confident_right(predictions: Predictions) -> list[int]:
    """Return for each class that has one the row of the right prediction of highest probability."""
    right, confidence = (
        predictions.predicted == predictions.labels,
        predictions.probabilities.max(axis=1, initial=0),
    )
    by_class = [
        np.flatnonzero(right & (predictions.labels == c)) for c in range(len(predictions.class_names))
    ]
    return [int(rows[confidence[rows].argmax()]) for rows in by_class if len(rows)][:MOST]


def most_disagreed(models: Mapping[str, Predictions]) -> list[int]:
    """Return rows, in the first model's order, on which predicted classes differ, most different first."""
    same = aligned(*models.values())
    predicted = np.stack([each.predicted for each in same])
    differing = np.flatnonzero((predicted != predicted[0]).any(axis=0))
    spread = disagreement(models)[differing]
    return [int(row) for row in differing[np.argsort(-spread, kind="stable")][:MOST]]


def example_ids(results: RunResults) -> dict[str, list[str]]:
    """Return the ids of all images to show, each with the models whose heat maps are wanted."""
    errors, disagreed, right = _chosen(results)
    wanted: dict[str, list[str]] = {
        image_id: [] for ids in sample_ids(results).values() for _, image_id in ids
    }
    for image_id in (*errors, *disagreed, *right):
        wanted[image_id] = list(results.predictions)
    return wanted


def sample_ids(results: RunResults) -> dict[str, list[tuple[str, str]]]:
    """Return (split, id) by class: the first and the middle image of train, the first of test."""
    names = results.class_names[:_MOST_SAMPLES]
    chosen: dict[str, list[tuple[str, str]]] = {}
    for c, name in enumerate(names):
        of_class = {
            split: [part.ids[row] for row in np.flatnonzero(part.labels == c)]
            for split, part in results.reference.items()
        }
        train, test = of_class["train"], of_class["test"]
        ids = [
            ("train", image_id) for image_id in (*train[:1], *train[len(train) // 2 : len(train) // 2 + 1])
        ]
        ids = list(dict.fromkeys([*ids, *(("test", image_id) for image_id in test[:1])]))
        chosen[name] = ids[: min(_SAMPLES, _MOST_SAMPLES // len(names))]
    return chosen


def samples(results: RunResults) -> Samples:
    """A few images of each class, as far as their files can be read."""
    images = {
        name: [
            CaptionedImage(f"{split} image", results.thumbnails[image_id][0].jpeg)
            for split, image_id in ids
            if image_id in results.thumbnails
        ]
        for name, ids in sample_ids(results).items()
    }
    shown = {name: of_class for name, of_class in images.items() if of_class}
    return Samples(shown, len(results.class_names))


def example_images(results: RunResults) -> Section:
    """The recommended model's errors, the images on which models disagree most, some right ones."""
    name = results.recommended
    errors, disagreed, right = _chosen(results)
    about_maps = (
        "A heat map (Grad-CAM) is laid over the image in its own shape and is bright where the image "
        "supports the class that this model predicts. A map of one color marks no region. A map shows which "
        "regions a prediction depends on; not why, and not whether the prediction is right."
    )
    if results.missing_maps and not any(len(images) > 1 for images in results.thumbnails.values()):
        about_maps = f"There are no heat maps: {results.missing_maps}."
    return Section(
        "Example images",
        [
            Paragraph(
                "This page contains small copies of the images: share it only as you would share them."
            ),
            Paragraph(about_maps),
            _cards(results, f"Most confident errors of {name}", errors, "It made no error on test."),
            _cards(
                results,
                "Strongest disagreement",
                disagreed,
                "All models predict the same class for every image.",
            ),
            replace(
                _cards(
                    results,
                    f"Right and most confident, per class: {name}",
                    right,
                    "It was never right on test.",
                ),
                folded=True,
            ),
        ],
        "examples",
    )


def thumbnails(
    ids: Sequence[str], paths: Mapping[str, Path], settings: config.Image
) -> dict[str, list[CaptionedImage]]:
    """Return by id a small copy of each image that can still be read; the others are left out.

    Args:
        ids: The images wanted.
        paths: Where the files are, or were when the run was made.
        settings: The run's.
    """
    images = {}
    for image_id in ids:
        try:
            pixels = small_copy(read_image(paths[image_id], settings).pixels)
        except DataError:  # moved or deleted since; the report says so in its place
            continue
        images[image_id] = [CaptionedImage("image", jpeg(pixels))]
    return images


def small_copy(image: Pixels) -> Pixels:
    """Resize an image, uint8 (H, W, 3), to a longer side of `PICTURE_SIDE`; it keeps its shape."""
    height, width = image.shape[:2]
    scale = PICTURE_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def jpeg(pixels: Pixels) -> bytes:
    """Encode pixels, uint8 (H, W, 3), anew: nothing of the original file's header is left."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def contact_sheet(
    groups: Sequence[Sequence[str]], paths: Mapping[str, Path], settings: config.Image
) -> bytes:
    """Return a PNG with a row per group, its first members side by side with their ids below.

    Args:
        groups: Ids that belong together; the first 40 groups and 5 members of each are shown.
        paths: By id its file, which can be read.
        settings: As they were read for the audit.

    Raises:
        DataError: A file can no longer be read.
    """
    rows = [group[:_COLUMNS] for group in groups[:_ROWS]]
    width = max(len(row) for row in rows) * (_SIDE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, len(rows) * (_SIDE + _CAPTION + _GAP) + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, image_id in enumerate(row):
            left, top = _GAP + x * (_SIDE + _GAP), _GAP + y * (_SIDE + _CAPTION + _GAP)
            pixels = to_input(read_image(paths[image_id], settings).pixels, _SHEET_IMAGE)
            sheet.paste(Image.fromarray(pixels), (left, top))
            folder, _, name = printable(image_id).rpartition("/")
            caption = "\n".join(chop_cells(text[::-1], _LETTERS)[0][::-1] for text in (folder, name) if text)
            if caption.isascii() or not (font := font_file(caption)):
                # Question marks for what no font shows; audit.json has the ids in this order.
                pen.text((left, top + _SIDE), caption.encode("ascii", "replace").decode(), fill="black")
            else:
                sized = ImageFont.truetype(font, _LETTER_SIZE)
                pen.text((left, top + _SIDE), caption, fill="black", font=sized)
    file = io.BytesIO()
    sheet.save(file, "PNG", pnginfo=png_notice())
    return file.getvalue()


def _chosen(results: RunResults) -> tuple[list[str], list[str], list[str]]:
    """Ids of the errors, of what models disagree on, and of right predictions."""
    recommended = results.test_predictions[results.recommended]
    first = next(iter(results.test_predictions.values()))
    return (
        [recommended.ids[row] for row in most_confident_errors(recommended)],
        [first.ids[row] for row in most_disagreed(results.test_predictions)],
        [recommended.ids[row] for row in most_confident_right(recommended)],
    )


def _cards(results: RunResults, title: str, ids: Sequence[str], nothing: str) -> Section:
    models = dict(zip(results.predictions, aligned(*results.test_predictions.values()), strict=True))
    first = next(iter(models.values()))
    rows = {image_id: row for row, image_id in enumerate(first.ids)}
    cards = []
    for image_id in ids:
        row = rows[image_id]
        predictions = {
            name: f"{model.class_names[model.predicted[row]]} ({model.probabilities[row].max():.2f})"
            for name, model in models.items()
        }
        wrong = [name for name, model in models.items() if model.predicted[row] != model.labels[row]]
        images = {image.model: image for image in results.thumbnails.get(image_id, ())}
        true_class = f"True class: {first.class_names[first.labels[row]]}"
        cards.append(Card(true_class, images, predictions, wrong, image_id))
    block: Block = Cards(cards) if cards else Paragraph(nothing)
    return Section(title, [block])
