"""The one test that every kind of model passes, and the functions of the spec."""

import functools
import json
import re
from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.small_models import (
    CLASSES,
    CUT,
    IMAGE,
    NOTEBOOK,
    RESIDUAL,
    chained,
    joined,
    member,
    pixels,
)
from tumorboard.config import Chained, Image
from tumorboard.errors import ModelError
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import (
    ModelSpec,
    check,
    copy_into,
    embedding_model,
    split_at_frozen,
    tap,
    taps,
    trunks,
)
from tumorboard.models.tta import mirror_averaged


def pair():
    return [member("pretrained"), member("custom", NOTEBOOK)]


def of_both(one):
    return mirror_averaged(one[0]), one[1]


def two_heads(embedding):
    kernel = np.random.default_rng(0).normal(size=(embedding, 6)).tolist()
    return {"weights": (2.0, 1.0), "kernel": tuple(map(tuple, kernel)), "bias": (0.0,) * 6}


KINDS = {
    "pretrained": lambda: member("pretrained"),
    "pretrained, cut at a stage": lambda: member("pretrained", CUT),
    "custom, notebook": lambda: member("custom", NOTEBOOK),
    "custom, residual": lambda: member("custom", RESIDUAL),
    "ensemble mean_dense": lambda: joined("ensemble", pair(), "mean_dense"),
    "ensemble mean": lambda: joined("ensemble", pair(), "mean"),
    "ensemble concat_dense": lambda: joined("ensemble", pair(), "concat_dense"),
    "ensemble weighted": lambda: joined("ensemble", pair(), "weighted", weights=(0.25, 0.75)),
    "ensemble mirrored": lambda: joined("ensemble", pair(), "mirrored"),
    "one model mirrored": lambda: joined("ensemble", pair()[1:], "mirrored"),
    "custom, mirrored": lambda: of_both(member("custom", RESIDUAL)),
    "ensemble with a mirrored one": lambda: joined("ensemble", [pair()[0], of_both(pair()[1])], "mean"),
    "an ensemble mirrored": lambda: joined("outer", [joined("inner", pair(), "mean")], "mirrored"),
    "chain on a mirrored one": lambda: chained("chained", [pair()[0], of_both(pair()[1])]),
    "ensemble boosted": lambda: joined("ensemble", pair(), "boosted", **two_heads(8 + 128)),
    "ensemble vote": lambda: joined("ensemble", pair(), "vote"),
    "chain, fresh": lambda: chained("chained", pair()[:1], Chained(units=8, start="fresh")),
    "chain on two links": lambda: chained("chained", pair()),
    "chain on a chain": lambda: chained("second", [chained("first", pair()[:1])]),
    "ensemble with an ensemble": lambda: joined(
        "outer", [joined("inner", pair(), "mean"), pair()[1]], "concat_dense"
    ),
    "ensemble with an ensemble and a chain": lambda: joined(
        "outer", [joined("inner", pair(), "concat_dense"), chained("chained", pair()[:1])], "vote"
    ),
    "ensemble of namesakes": lambda: joined(
        "ensemble", [member("custom", NOTEBOOK, s) for s in range(3)], "mean"
    ),
}
FROZEN = ("pretrained", "pretrained, cut at a stage", "custom, residual", "chain, fresh", "chain on a chain")


@functools.cache
def of_kind(kind):
    return KINDS[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_every_model_keeps_the_contract(kind, tmp_path):
    model, spec = of_kind(kind)
    check(model, spec)
    assert all(layer.name.startswith(f"{spec.name}_") for layer in model.layers)
    assert len({layer.name for layer in model.layers}) == len(model.layers)
    assert tap(model, "image") is model.input
    assert tap(model, "probabilities") is model.output
    assert model.dtype == "float32"
    for map_, vector in zip(taps(model, "feature_map"), taps(model, "embedding"), strict=False):
        assert len(map_.shape) == 4
        assert len(vector.shape) == 2

    images = pixels(2)
    found = probabilities(model, images)
    assert found.shape == (2, len(CLASSES))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=0, atol=1e-5)

    saving.save(model, spec, tmp_path / "m.keras")
    again, said = saving.load(tmp_path / "m.keras")
    np.testing.assert_array_equal(probabilities(again, images), found)
    assert said == spec
    assert [w.path for w in again.trainable_weights] == [w.path for w in model.trainable_weights]


def test_every_member_of_a_composite_shows_its_taps():
    model, _ = of_kind("ensemble with an ensemble and a chain")
    maps = {layer.name for layer in model.layers if layer.name.endswith("_feature_map")}
    assert maps == {
        "outer_inner_pretrained_feature_map",
        "outer_inner_custom_feature_map",
        "outer_chained_pretrained_feature_map",
    }


def test_own_taps_are_found_and_missing_ones_named():
    model, _ = of_kind("ensemble mean")
    assert len(taps(model, "embedding")) == 2
    with pytest.raises(ModelError, match="'ensemble_embedding' in the model 'ensemble', found none"):
        tap(model, "embedding")


def test_heat_maps_can_reach_the_last_map_after_a_reload(tmp_path):
    model, spec = of_kind("pretrained, cut at a stage")
    saving.save(model, spec, tmp_path / "m.keras")
    again, _ = saving.load(tmp_path / "m.keras")
    both = [keras.Model(m.input, [tap(m, "feature_map"), m.output]) for m in (model, again)]
    for one, other in zip(*(m.predict_on_batch(pixels(1)) for m in both), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"image": Image(size=64)}, "input shape"),
        ({"class_names": ("a", "b")}, "output shape"),
        ({"name": "other"}, "name"),
    ],
)
def test_a_broken_promise_is_named(change, what):
    model, spec = of_kind("custom, notebook")
    with pytest.raises(ModelError, match=f"does not match its specification: {what}"):
        check(model, replace(spec, **change))


def test_a_layer_outside_the_prefix_is_named():
    image = keras.Input((32, 32, 3), name="m_image")
    x = keras.layers.Flatten(name="stray")(image)
    model = keras.Model(image, keras.layers.Dense(3, name="m_probabilities")(x), name="m")
    with pytest.raises(ModelError, match="outside its prefix \\['stray'\\]"):
        check(model, ModelSpec("m", "custom", CLASSES, IMAGE))


def test_a_contract_survives_json():
    spec = ModelSpec("m", "custom", CLASSES, Image(size=64, resize="pad", depth=12), {"epochs": 3})
    content = json.loads(json.dumps(spec.to_json()))
    assert ModelSpec.from_json(content) == spec
    assert content["input"]["shape"] == [64, 64, 3]
    assert re.search("not a medical device", content["notice"], re.IGNORECASE)


def test_a_contract_of_before_depths_keeps_the_high_byte():
    content = ModelSpec("m", "custom", CLASSES, Image()).to_json()
    del content["image"]["depth"]
    assert ModelSpec.from_json(content).image == Image(depth="stored")


@pytest.mark.parametrize("kind", FROZEN)
def test_trunk_and_tail_are_the_model(kind):
    model, _ = of_kind(kind)
    trunk, tail = split_at_frozen(model)
    images = pixels(3)
    found = tail.predict_on_batch(trunk.predict_on_batch(images))
    np.testing.assert_allclose(found, model.predict_on_batch(images), rtol=0, atol=1e-6)
    tail(trunk.predict_on_batch(images), training=True)  # as for averaged weights: Keras warns of nothing
    assert not trunk.trainable_weights
    assert {id(w) for w in tail.trainable_weights} == {id(w) for w in model.trainable_weights}


@pytest.mark.parametrize("kind", FROZEN[1:4])
def test_fitting_the_tail_trains_the_model_and_leaves_the_trunk(kind):
    model, _ = KINDS[kind]()
    trunk, tail = split_at_frozen(model)
    images, before, trunk_before = pixels(4), model.predict_on_batch(pixels(4)), trunk.get_weights()
    tail.compile("sgd", "sparse_categorical_crossentropy")
    tail.fit(trunk.predict_on_batch(images), np.array([0, 1, 2, 0]), verbose=0)
    assert not np.array_equal(model.predict_on_batch(images), before)
    for now, then in zip(trunk.get_weights(), trunk_before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_trunks_of_a_chain_are_its_links_own_and_stand_as_the_tail_takes_them():
    links = [member("second", RESIDUAL), member("first", CUT)]
    model, _ = chained("chained", links)
    parts, (_, tail) = trunks(model), split_at_frozen(model)
    assert set(parts) == {"chained_first", "chained_second"}
    frozen = [trunk.predict_on_batch(pixels(2)) for trunk in parts.values()]
    found = tail.predict_on_batch(frozen)
    np.testing.assert_allclose(found, model.predict_on_batch(pixels(2)), rtol=0, atol=1e-6)
    for link, spec in links:
        alone = trunks(link)[spec.name].predict_on_batch(pixels(2))
        np.testing.assert_array_equal(alone, parts[f"chained_{spec.name}"].predict_on_batch(pixels(2)))


@pytest.mark.parametrize("kind", ["custom, notebook", "chain on two links", "ensemble mean"])
def test_a_branch_that_cannot_be_computed_once_is_an_error(kind):
    model, _ = of_kind(kind)
    with pytest.raises(ModelError, match="without a frozen part to compute once"):
        split_at_frozen(model)


def test_a_copy_owns_its_weights_and_says_the_same():
    model, _ = member("custom", NOTEBOOK)
    image = keras.Input((32, 32, 3), name="n_image")
    copy = copy_into(model, image, "n_copy")
    np.testing.assert_array_equal(copy.predict_on_batch(pixels(2)), model.predict_on_batch(pixels(2)))
    before = model.get_weights()
    copy.set_weights([weight + 1 for weight in before])
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert {layer.name.split("_")[0] for layer in copy.layers} == {"n"}


def test_a_model_s_own_embedding_is_what_its_classifier_sees() -> None:
    model, _ = member("one")
    images = pixels(3)
    found = probabilities(embedding_model(model), images)
    assert found.shape == (3, 8)
    kernel, bias = model.get_layer("one_probabilities").get_weights()
    logits = found @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


def test_an_ensemble_has_its_members_and_a_chain_its_own() -> None:
    one, two = member("one"), member("two", seed=1)
    both, _ = joined("both", [one, two], "mean")
    images = pixels(2)
    parts = [probabilities(embedding_model(m), images) for m, _ in (one, two)]
    np.testing.assert_allclose(probabilities(embedding_model(both), images), np.hstack(parts), atol=1e-6)
    link, _ = chained("link", [one])
    assert probabilities(embedding_model(link), images).shape == (2, 8)


def test_a_network_without_one_is_refused() -> None:
    image = keras.Input((32, 32, 3), name="bare_image")
    bare = keras.Model(image, keras.layers.Flatten(name="bare_probabilities")(image), name="bare")
    with pytest.raises(ModelError, match="bare"):
        embedding_model(bare)
