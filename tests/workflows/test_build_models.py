"""Joining members' predictions and training one model at a time; test_train.py watches all models."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from tests.small_models import CLASSES as LETTERS
from tests.small_runs import draw, draw_patients, prepared
from tumorboard.config import Training
from tumorboard.errors import DataError, ModelError
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.predictions import Predictions
from tumorboard.workflows import build_models
from tumorboard.workflows.build_models import stacked_probabilities
from tumorboard.workflows.run_context import RunContext


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    draw(tmp_path / "data")
    return prepared(tmp_path)


def written(context: RunContext, name: str, rows: np.ndarray, split: str = "train") -> np.ndarray:
    """A member's predictions on disk, its rows in the given order; returns them in the manifest's."""
    part = context.manifest.select(split)
    values = np.random.default_rng(len(name)).dirichlet(np.ones(3), len(part.samples))
    record = Predictions(tuple(np.array(part.ids)[rows]), part.labels[rows], part.class_names, values[rows])
    path = context.run.predictions(name, split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(record.to_csv())
    return values


def test_members_answers_are_joined_on_ids_whatever_the_order_of_their_rows(context: RunContext) -> None:
    straight = written(context, "pretrained", np.arange(15))
    shuffled = written(context, "custom", np.random.default_rng(1).permutation(15))
    examples = stacked_probabilities(
        [context.predictions(name, "train") for name in context.recipe.ensemble.members]
    )
    np.testing.assert_array_equal(examples.inputs[0][0], straight)
    np.testing.assert_array_equal(examples.inputs[1][0], shuffled)
    np.testing.assert_array_equal(examples.labels, context.manifest.select("train").labels)


def test_members_that_answered_other_samples_are_refused(context: RunContext) -> None:
    written(context, "custom", np.arange(15))
    written(context, "pretrained", np.arange(14))
    with pytest.raises(DataError, match="same samples"):
        stacked_probabilities(
            [context.predictions(name, "train") for name in context.recipe.ensemble.members]
        )


def test_rows_of_images_and_of_members_answers_carry_their_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_patients(tmp_path, in_names=True)
    context = prepared(tmp_path)
    seen: list[Any] = []
    monkeypatch.setattr(build_models, "fit", lambda network, *parts, **options: seen.extend(parts[:2]) or [])
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()], name="custom")
    build_models._fit_on_images(context, model, Training())
    for examples, split in zip(seen, ("train", "valid"), strict=True):
        assert list(examples.groups) == [sample.group for sample in context.manifest.select(split).samples]
    assert len(set(seen[0].groups)) == 8  # of 15 images
    for name in context.recipe.ensemble.members:
        written(context, name, np.random.default_rng(1).permutation(15))
    answers = [context.predictions(name, "train") for name in context.recipe.ensemble.members]
    group_of = {sample.id: sample.group for sample in context.manifest.samples}
    head = stacked_probabilities(answers, context.manifest.groups)
    assert list(head.groups) == [group_of[name] for name in answers[0].ids] != list(seen[0].groups)


def test_what_is_predicted_is_not_predicted_again(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(context, "custom", np.arange(15))
    before = context.run.predictions("custom", "train").stat().st_mtime_ns
    build_models.predict_splits(context, "custom", "train")  # there is no model that could
    assert context.run.predictions("custom", "train").stat().st_mtime_ns == before
    with pytest.raises(ModelError, match=r"custom\.keras"):
        build_models.predict_splits(context, "custom", "test")


def test_predictions_are_the_saved_models_answers_to_the_parts_images(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bright:
        output_shape = (None, 3)

        def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
            share = images.mean() / 255
            return np.array([[share, 1 - share, 0.0]])

    spec: Any = SimpleNamespace(class_names=LETTERS)
    monkeypatch.setattr(build_models.saving, "load", lambda path: (Bright(), spec))
    build_models.predict_splits(context, "custom", "valid")
    found = context.predictions("custom", "valid")
    assert found.ids == context.manifest.select("valid").ids
    assert found.class_names == LETTERS
    np.testing.assert_array_equal(found.probabilities, probabilities(Bright(), context.images("valid")))


def test_a_mirrored_network_is_trained_as_it_is_and_answers_for_both(context: RunContext) -> None:
    said = {}
    for mirrored in (False, True):
        context.run.model("custom").unlink(missing_ok=True)
        network = context.recipe.models["custom"].model_copy(update={"mirrored": mirrored})
        recipe = context.recipe.model_copy(update={"models": {**context.recipe.models, "custom": network}})
        build_models.build_model(dataclasses.replace(context, recipe=recipe), "custom")
        model, _ = saving.load(context.run.model("custom"))
        images = context.images("valid")[:]
        said[mirrored] = [probabilities(model, one) for one in (images, images[:, :, ::-1])]
    straight, turned = said[False]
    assert np.abs(straight - turned).max() > 1e-4
    np.testing.assert_allclose(said[True], [(straight + turned) / 2] * 2, rtol=0, atol=1e-6)


TWO_LINKS = """
name = "two links"
[image]
size = 32
[models.pretrained]
kind = "pretrained"
backbone = "tiny"
weights = "none"
cut = "block1"
units = 8
augmentation = { rotation = 0.0, zoom = 0.0 }
training = { views = 2, epochs = 1, patience = 0 }
[models.custom]
kind = "custom"
augmentation = { rotation = 0.0, zoom = 0.0 }
training = { views = 1, epochs = 1, patience = 0 }
[chained]
others = ["custom"]
units = 4
training = { views = 2, epochs = 1, patience = 0 }
"""


def test_a_chain_of_two_links_learns_on_the_views_that_its_links_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "data")
    context = prepared(tmp_path, text=TWO_LINKS)
    seen = []
    for name in context.recipe.models:
        build_models.build_model(context, name)
    kept = set(context.run.cache.rglob("view*.npy"))
    monkeypatch.setattr("tumorboard.workflows.build_models.fit", _noting(seen))
    build_models.build_model(context, "chained")
    assert set(context.run.cache.rglob("view*.npy")) == kept  # nothing was computed again
    model, spec = saving.load(context.run.model("chained"))
    assert spec.details["others"] == ["custom"]
    joint = model.get_layer("chained_concatenate")
    assert [tensor.shape[1] for tensor in joint.input] == [8, 192]
    shapes = {tuple(view[0].shape for view in views) for views in seen[0].inputs}
    assert shapes == {((7, 7, 4),) * 2, ((16, 16, 1),)}


PROBE = TWO_LINKS.replace('cut = "block1"\nunits = 8', 'pooling = "average"\nhead = "lda"').replace(
    'others = ["custom"]\n', ""
)


def test_a_head_in_closed_form_is_fitted_without_epochs_and_can_be_a_link(tmp_path: Path) -> None:
    draw(tmp_path / "data")
    context = prepared(tmp_path, text=PROBE)
    build_models.build_model(context, "pretrained")
    model, _ = saving.load(context.run.model("pretrained"))
    predicted = probabilities(model, context.images("train")[:]).argmax(axis=1)
    assert (predicted == context.manifest.select("train").labels).mean() > 0.9  # random weights: 0.33
    assert not context.run.history("pretrained").exists()
    assert not context.run.state("pretrained").exists()
    build_models.build_model(context, "chained")
    assert saving.is_saved(context.run.model("chained"))


def _noting(seen: list[Any]) -> Any:
    from tumorboard.training.fit import fit

    def noting(network: Any, train: Any, *rest: Any, **options: Any) -> Any:
        seen.append(train)
        return fit(network, train, *rest, **options)

    return noting
