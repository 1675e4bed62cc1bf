from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from tests.small_models import CHAINED, CLASSES, CUT, IMAGE, NOTEBOOK, RESIDUAL, joined, member, pixels
from tumorboard.config import Image
from tumorboard.ensembles.combination import CombinationRule, apply_rule
from tumorboard.ensembles.ensemble import (
    build_chain,
    build_ensemble,
    check_compatible,
    copy_members,
    dense_head,
)
from tumorboard.errors import ModelError
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import ModelSpec, tap
from tumorboard.predictions import Predictions


@pytest.fixture(scope="module")
def custom():
    return member("custom", NOTEBOOK)


def other(custom, **changes):
    """The same network under another spec."""
    return custom[0], replace(custom[1], name="other", **changes)


def test_models_of_the_same_classes_and_input_fit(custom):
    assert check_compatible([custom, other(custom)]) == custom[1]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"class_names": ("a", "b", "z")}, "other classes, .*'c'.* against .*'z'"),
        ({"class_names": ("a", "b")}, "other classes"),
        ({"class_names": ("b", "a", "c")}, "the same classes in another order"),
        ({"image": Image(size=64)}, "other input, .*'size': 32.* against .*'size': 64"),
        ({"image": Image(size=32, resize="pad")}, "other input, .*'stretch'.* against .*'pad'"),
        ({"image": Image(size=32, interpolation="box")}, "other input"),
    ],
)
def test_a_pair_that_does_not_fit_is_told_why(custom, changes, why):
    with pytest.raises(ModelError, match=f"'custom' and 'other' do not fit together: {why}"):
        check_compatible([custom, custom, other(custom, **changes)])


def test_long_lists_of_classes_go_into_the_details(custom):
    names = tuple(f"a class with a long name, number {number}" for number in range(40))
    with pytest.raises(ModelError) as error:
        check_compatible([custom, other(custom, class_names=names)])
    assert len(str(error.value)) <= 300
    assert names[-1] in error.value.details[1]


@pytest.mark.parametrize("count", [0, 1])
def test_one_model_is_no_combination(custom, count):
    with pytest.raises(ModelError, match=f"at least two models to combine, found {count}"):
        check_compatible([custom][:count])


def prefixes(members):
    image = keras.Input((32, 32, 3), name="m_image")
    copies = copy_members(members, image, "m", trainable=False)
    names = [layer.name for copy in copies for layer in copy.layers if layer.name != "m_image"]
    assert len(set(names)) == len(names)
    return [
        next(layer.name for layer in copy.layers if layer.name.endswith("_probabilities")) for copy in copies
    ]


def test_namesakes_are_numbered(custom):
    assert prefixes([custom, custom, custom]) == [
        "m_custom_probabilities",
        "m_custom_2_probabilities",
        "m_custom_3_probabilities",
    ]


@pytest.mark.parametrize("names", [("a", "a_2", "a"), ("a", "a_3", "a"), ("a_2", "a", "a")])
def test_a_number_that_is_taken_is_passed_over(names):
    assert len(set(prefixes([member(name, NOTEBOOK) for name in names]))) == 3


def test_a_model_named_like_anothers_member_gets_a_number(custom):
    inner = joined("outer", [custom, member("second", NOTEBOOK)], "mean")
    assert len(prefixes([inner, member("outer_custom", NOTEBOOK)])) == 2


def test_a_frozen_copy_learns_nothing_and_the_original_still_can(custom):
    model = custom[0]
    image = keras.Input((32, 32, 3), name="m_image")
    frozen, free = (copy_members([custom], image, "m", trainable=t)[0] for t in (False, True))
    assert not frozen.trainable_weights
    assert len(free.trainable_weights) == len(model.trainable_weights) > 0
    for copy in (frozen, free):
        np.testing.assert_array_equal(copy.predict_on_batch(pixels(1)), model.predict_on_batch(pixels(1)))


FORMS = ("mean_dense", "mean", "concat_dense", "weighted", "vote", "mirrored")


@pytest.fixture(scope="module")
def members():
    return [member("pretrained"), member("custom", NOTEBOOK), member("third", RESIDUAL)]


@pytest.fixture(scope="module")
def opinions(members):
    return np.stack([probabilities(model, pixels(6)) for model, _ in members])


def said(members, form, **options):
    return probabilities(build_ensemble("ensemble", members, CombinationRule(form, **options)), pixels(6))


def test_b_is_the_mean_of_the_members(members, opinions):
    np.testing.assert_allclose(said(members, "mean"), opinions.mean(axis=0), rtol=0, atol=1e-7)


def test_mirrored_is_the_mean_over_images_and_mirror_images(members, opinions):
    turned = [probabilities(model, pixels(6)[:, :, ::-1]) for model, _ in members]
    assert not np.allclose(turned, opinions, atol=1e-4)
    expected = (opinions.mean(axis=0) + np.mean(turned, axis=0)) / 2
    np.testing.assert_allclose(said(members, "mirrored"), expected, rtol=0, atol=1e-6)
    ids = tuple("abcdef")
    records = [Predictions(ids, np.zeros(6, int), CLASSES, rows) for rows in (*opinions, *turned)]
    by_rule = apply_rule(CombinationRule("mirrored"), records).probabilities
    np.testing.assert_allclose(by_rule, expected, rtol=0, atol=1e-12)


def test_one_model_is_enough_to_be_mirrored_but_not_to_be_averaged(members, opinions):
    turned = probabilities(members[1][0], pixels(6)[:, :, ::-1])
    found = said(members[1:2], "mirrored")
    np.testing.assert_allclose(found, (opinions[1] + turned) / 2, rtol=0, atol=1e-6)
    with pytest.raises(ModelError, match="at least two models"):
        said(members[1:2], "mean")


def test_weighted_is_the_weighted_mean(members, opinions):
    weights = (0.5, 0.2, 0.3)
    expected = np.average(opinions, axis=0, weights=weights)
    np.testing.assert_allclose(said(members, "weighted", weights=weights), expected, rtol=0, atol=1e-7)


def test_all_weight_on_one_member_is_that_member(members, opinions):
    found = said(members, "weighted", weights=(0, 1, 0))
    np.testing.assert_allclose(found, opinions[1], rtol=0, atol=1e-7)


def test_a_weight_missing_is_an_error(members):
    with pytest.raises(ValueError, match="longer"):
        build_ensemble("ensemble", members, CombinationRule("weighted", (0.5, 0.5)))


def fixed(name, answer):
    """A model that says the same of every image."""
    model, spec = member(name, NOTEBOOK)
    head = model.get_layer(f"{name}_probabilities")
    head.set_weights([np.zeros((128, 3)), np.log(answer)])
    return model, spec


BALLOTS = {
    "all agree": [(0.4, 0.3, 0.3)] * 3,
    "two against one": [(0.1, 0.5, 0.4), (0.2, 0.5, 0.3), (0.98, 0.01, 0.01)],
    "three ways": [(0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)],
    "two tie": [(0.6, 0.2, 0.2), (0.2, 0.6, 0.2)],
    "close": [(0.334, 0.333, 0.333), (0.333, 0.334, 0.333), (0.333, 0.3345, 0.3325)],
}


@pytest.mark.parametrize("answers", BALLOTS.values(), ids=BALLOTS)
def test_vote_is_the_share_of_members_for_a_class(answers):
    found = said([fixed(f"m{i}", answer) for i, answer in enumerate(answers)], "vote")[0]
    counts = np.bincount([np.argmax(answer) for answer in answers], minlength=3)
    np.testing.assert_allclose(found, counts / len(answers), rtol=0, atol=1e-6)


def test_a_member_torn_between_two_classes_splits_its_vote():
    found = said([fixed("torn", (0.4, 0.4, 0.2)), fixed("sure", (0.1, 0.1, 0.8))], "vote")[0]
    np.testing.assert_allclose(found, (0.25, 0.25, 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("form", "parameters"), [("mean_dense", 20), ("concat_dense", 36)])
def test_heads_have_the_studys_parameters(form, parameters):
    four = [member(name, NOTEBOOK, class_names=("a", "b", "c", "d")) for name in ("first", "second")]
    model = build_ensemble("ensemble", four, CombinationRule(form))
    head = dense_head(model)
    assert head.count_params() == parameters
    assert {id(w) for w in model.trainable_weights} == {id(w) for w in head.trainable_weights}


@pytest.mark.parametrize("form", ["mean", "weighted", "vote", "mirrored"])
def test_other_forms_have_nothing_to_train(members, form):
    model = build_ensemble("ensemble", members, CombinationRule(form, (0.2, 0.3, 0.5)))
    assert not model.trainable_weights


@pytest.mark.parametrize("form", ["mean_dense", "concat_dense"])
def test_the_head_on_the_members_answers_is_the_ensemble(members, opinions, form):
    model = build_ensemble("ensemble", members, CombinationRule(form))
    found = dense_head(model).predict_on_batch([one.astype("float32") for one in opinions])
    np.testing.assert_allclose(found, probabilities(model, pixels(6)), rtol=0, atol=1e-6)


def test_an_ensembles_head_takes_its_direct_members_in_their_order(members):
    inner = joined("inner", members[1:], "mean")
    nested = [members[0], inner, members[2]]
    model = build_ensemble("outer", nested, CombinationRule("concat_dense"))
    answers = [probabilities(network, pixels(6)).astype("float32") for network, _ in nested]
    head = dense_head(model)
    assert len(head.inputs) == 3
    np.testing.assert_allclose(
        head.predict_on_batch(answers), probabilities(model, pixels(6)), rtol=0, atol=1e-6
    )


def test_fitting_the_head_leaves_the_members_alone(members, opinions):
    before = [model.get_weights() for model, _ in members]
    model = build_ensemble("ensemble", members, CombinationRule("concat_dense"))
    head = dense_head(model)
    first = probabilities(model, pixels(6))
    head.compile("sgd", "sparse_categorical_crossentropy")
    head.fit([one.astype("float32") for one in opinions], np.array([0, 1, 2, 0, 1, 2]), verbose=0)
    assert not np.array_equal(probabilities(model, pixels(6)), first)
    for (network, _), weights in zip(members, before, strict=True):
        for now, then in zip(network.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(probabilities(members[0][0], pixels(6)), opinions[0])


def test_the_same_seed_gives_the_same_head(members):
    one, same, other = (
        dense_head(
            build_ensemble("ensemble", members, CombinationRule("concat_dense"), seed=seed)
        ).get_weights()[0]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("form", FORMS)
def test_members_of_other_classes_are_refused(members, form):
    stranger = members[1][0], ModelSpec("stranger", "custom", tuple(reversed(CLASSES)), IMAGE)
    with pytest.raises(ModelError, match="the same classes in another order"):
        build_ensemble("ensemble", [members[0], stranger], CombinationRule(form))


def test_form_a_averages_with_a_public_layer(members):
    model = build_ensemble("ensemble", members, CombinationRule("mean_dense"))
    assert isinstance(model.get_layer("ensemble_average"), layers.Average)


def test_stacked_is_what_its_rule_says_of_the_members(members, opinions):
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(9, 3)), rng.normal(size=3)
    rule = CombinationRule("stacked", kernel=tuple(map(tuple, kernel.tolist())), bias=tuple(bias.tolist()))
    found = probabilities(build_ensemble("ensemble", members, rule), pixels(6))
    ids = tuple("abcdef")
    records = [Predictions(ids, np.zeros(6, int), CLASSES, rows) for rows in opinions]
    np.testing.assert_allclose(found, apply_rule(rule, records).probabilities, rtol=0, atol=1e-6)


def fitted(model):
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(pixels(4), np.array([0, 1, 2, 0]), verbose=0)


def embedding(model):
    return keras.Model(model.input, tap(model, "embedding"))


def test_a_chain_starts_from_the_first_links_embedding():
    first = member("first")
    model = build_chain("chained", [first], CHAINED)
    of_link = keras.Model(model.input, model.get_layer("chained_first_embedding").output)
    np.testing.assert_array_equal(
        of_link.predict_on_batch(pixels(3)), embedding(first[0]).predict_on_batch(pixels(3))
    )
    assert "chained_first_probabilities" not in {layer.name for layer in model.layers}


def test_several_links_are_concatenated_in_their_order():
    links = [member("first"), member("second", NOTEBOOK)]
    model = build_chain("chained", links, CHAINED)
    both = keras.Model(model.input, model.get_layer("chained_concatenate").output)
    expected = [embedding(link).predict_on_batch(pixels(2)) for link, _ in links]
    np.testing.assert_array_equal(both.predict_on_batch(pixels(2)), np.concatenate(expected, axis=1))
    assert both.output_shape == (None, 8 + 128)


@pytest.mark.parametrize("settings", [CUT, NOTEBOOK, RESIDUAL])
def test_a_chain_is_trained_end_to_end_but_the_first_link_is_left_alone(settings):
    first, spec = member("first", settings)
    before = first.get_weights()
    model = build_chain("chained", [(first, spec)], CHAINED)
    copied = [w for w in model.trainable_weights if not w.path.startswith(("chained_dense", "chained_prob"))]
    own = [w for w in first.trainable_weights if not w.path.startswith("first_prob")]
    assert len(copied) == len(own) > 0
    values = [np.asarray(weight) for weight in copied]
    fitted(model)
    assert all(
        not np.array_equal(now, then) for now, then in zip(copied, values, strict=True) if then.ndim > 1
    )
    for now, then in zip(first.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_was_frozen_in_the_first_link_stays_frozen():
    model = build_chain("chained", [member("first")], CHAINED)
    backbone = model.get_layer("chained_first_backbone")
    before = backbone.get_weights()
    fitted(model)
    for now, then in zip(backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("settings", [CUT, RESIDUAL])
def test_kept_links_stay_as_they_are(settings):
    model = build_chain("chained", [member("first", settings)], CHAINED.model_copy(update={"start": "kept"}))
    learning = {weight.path.split("/")[0] for weight in model.trainable_weights}
    assert learning == {"chained_dense", "chained_probabilities"}
    before = {weight.path: np.asarray(weight) for weight in model.weights}
    fitted(model)
    changed = {w.path.split("/")[0] for w in model.weights if not np.array_equal(w, before[w.path])}
    assert changed == learning


def test_the_second_link_is_the_recipes():
    model = build_chain("chained", [member("first")], CHAINED.model_copy(update={"units": 5, "dropout": 0.5}))
    assert tap(model, "embedding").shape == (None, 5)
    assert model.get_layer("chained_embedding").rate == 0.5


def test_the_same_seed_gives_the_same_second_link():
    one, same, other = (
        build_chain("chained", [member("first")], CHAINED, seed).get_layer("chained_dense").get_weights()[0]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_model_without_an_embedding_cannot_be_a_link():
    ensemble = joined("mean", [member("first"), member("second", NOTEBOOK)], "mean")
    with pytest.raises(ModelError, match="'mean_embedding' in the model 'mean', found none"):
        build_chain("chained", [ensemble], CHAINED)
