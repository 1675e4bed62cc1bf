import keras
import numpy as np
import pytest

from tests.small_models import CUT, NOTEBOOK, PRETRAINED, RESIDUAL, member, pixels
from tumorboard.config import Chained, Image, load
from tumorboard.ensembles.ensemble import build_chain
from tumorboard.models import architectures
from tumorboard.models.architectures import build_network
from tumorboard.models.model_spec import ModelSpec, tap

SETTINGS = {"pretrained": PRETRAINED, "cut": CUT, "notebook": NOTEBOOK, "residual": RESIDUAL}


def head_weights(model):
    return [weight.numpy() for weight in model.trainable_weights if not weight.path.startswith("block")]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_seed_gives_the_same_first_weights(name):
    one, same, other = (head_weights(member("m", SETTINGS[name], seed)[0]) for seed in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [(a, b) for a, b in zip(one, other, strict=True) if a.ndim > 1]
    assert kernels
    assert not any(np.array_equal(a, b) for a, b in kernels)


def test_the_default_recipe_builds_offline():
    for name, settings in load("default").models.items():
        model = build_network(name, settings, Image(size=64), 5, 0)
        assert model.name == name
        assert model.output_shape == (None, 5)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture(scope="module")
def study():
    """The study's recipe, and its first model with random weights."""
    recipe = load("notebook").with_options(None, "none", None)
    model = architectures.build_pretrained("pretrained", recipe.models["pretrained"], recipe.image, 4, seed=0)
    return recipe, model


def test_the_studys_first_model_has_its_parameters(study):
    _, model = study
    assert model.count_params() == 24_121_476
    assert trainable(model) == 529_668
    assert model.input_shape == (None, 224, 224, 3)
    assert tap(model, "feature_map").shape == (None, 7, 7, 2048)
    assert tap(model, "frozen").shape == (None, 2048)
    assert tap(model, "embedding").shape == (None, 256)


def test_the_studys_chained_model_has_its_parameters(study):
    recipe, model = study
    first = ModelSpec("pretrained", "pretrained", ("a", "b", "c", "d"), recipe.image)
    chained = build_chain("chained", [(model, first)], recipe.chained)
    assert chained.count_params() == 24_187_268
    assert trainable(chained) == 595_460
    kinds = [type(layer).__name__ for layer in chained.layers]
    assert kinds[-3:] == ["Dense", "Dropout", "Dense"]
    second_link = chained.layers[
        [layer.name for layer in chained.layers].index("chained_pretrained_embedding") + 1 :
    ]
    assert sum(layer.count_params() for layer in second_link) == 66_820
    assert not {"Conv2D", "MaxPooling2D", "Flatten", "Rescaling"} & {
        type(layer).__name__ for layer in second_link
    }


def test_the_studys_layers_follow_its_order(study):
    _, model = study
    assert [layer.name.removeprefix("pretrained_") for layer in model.layers] == [
        "image",
        "augment_flip",
        "augment_rotation",
        "augment_zoom",
        "rescaling",
        "backbone",
        "feature_map",
        "pool",
        "frozen",
        "norm",
        "dense",
        "embedding",
        "probabilities",
    ]
    assert isinstance(model.get_layer("pretrained_pool"), keras.layers.GlobalMaxPooling2D)
    assert model.get_layer("pretrained_embedding").rate == 0.25


def test_a_cut_trains_what_lies_behind_it():
    whole, _ = member("m")
    cut, _ = member("m", CUT)
    assert whole.count_params() == cut.count_params()
    assert {w.path.split("/")[0] for w in whole.trainable_weights} == {"m_norm", "m_dense", "m_probabilities"}
    behind = {w.path.split("/")[0] for w in cut.trainable_weights} - {
        w.path.split("/")[0] for w in whole.trainable_weights
    }
    assert behind == {"block2_conv", "block2_norm"}
    assert tap(cut, "frozen").shape == (None, 7, 7, 4)
    assert tap(cut, "feature_map").shape == (None, 3, 3, 6)


@pytest.mark.parametrize("depthwise", ["trained", "frozen"])
def test_depthwise_convolutions_behind_a_cut_are_the_recipes(depthwise):
    network = (
        load("default").models["pretrained"].model_copy(update={"weights": "none", "depthwise": depthwise})
    )
    model = architectures.build_pretrained("m", network, Image(), 3, seed=0)
    paths = [weight.path for weight in model.trainable_weights]
    assert any("block5a_expand_conv" in path for path in paths)
    assert any("depthwise_conv" in path for path in paths) is (depthwise == "trained")
    copy = build_chain("c", [(model, ModelSpec("m", "pretrained", ("a", "b", "c"), Image()))], Chained())
    depthwise_copied = [weight for weight in copy.trainable_weights if "depthwise_conv" in weight.path]
    assert bool(depthwise_copied) is (depthwise == "trained")


@pytest.mark.parametrize(("pooling", "reduce"), [("max", np.max), ("average", np.mean)])
def test_pooling_is_the_recipes(pooling, reduce):
    model, _ = member("m", PRETRAINED.model_copy(update={"pooling": pooling}))
    ends = keras.Model(model.input, [tap(model, "feature_map"), tap(model, "frozen")])
    map_, vector = ends.predict_on_batch(pixels(2))
    np.testing.assert_allclose(vector, reduce(map_, axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_frozen_batch_norms_keep_their_statistics_in_training():
    model, _ = member("m")
    before = model.get_layer("m_backbone").get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(pixels(4), np.array([0, 1, 2, 0]), verbose=0)
    for now, then in zip(model.get_layer("m_backbone").get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert model.get_layer("m_norm").moving_mean.numpy().any()


def test_preprocessing_is_inside():
    own, _ = member("m")
    unit, _ = member("m", PRETRAINED.model_copy(update={"preprocessing": "unit"}))
    assert own.get_layer("m_rescaling").scale == 1 / 128
    assert unit.get_layer("m_rescaling").scale == 1 / 255


def test_image_size_is_the_recipes():
    model, _ = member("m", image=Image(size=48))
    assert model.input_shape == (None, 48, 48, 3)


def test_the_studys_second_model_has_its_parameters():
    recipe = load("notebook")
    model = architectures.build_custom("custom", recipe.models["custom"], recipe.image, 4, seed=0)
    assert model.count_params() == 5_567_076
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 5_567_076
    assert [type(layer).__name__ for layer in model.layers] == [
        "InputLayer",
        *("RandomFlip", "RandomRotation", "RandomZoom", "Rescaling"),
        *("Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Dropout"),
        *("Conv2D", "MaxPooling2D", "Dropout", "Identity"),
        *("Flatten", "Dense", "Dropout", "Dense"),
    ]
    assert tap(model, "feature_map").shape == (None, 26, 26, 64)
    assert tap(model, "embedding").shape == (None, 128)


def test_the_residual_design_has_the_same_parameters_at_any_size():
    small, _ = member("m", RESIDUAL)
    large, _ = member("m", RESIDUAL, image=Image(size=224))
    assert small.count_params() == large.count_params() == 700_734  # of three classes
    assert tap(large, "frozen").shape == (None, 112, 112, 1)
    assert tap(large, "feature_map").shape == (None, 7, 7, 192)
    assert tap(large, "embedding").shape == (None, 192)


@pytest.mark.parametrize(("size", "side"), [(33, 1), (100, 4), (148, 5)])
def test_the_residual_design_takes_sizes_that_do_not_halve_evenly(size, side):
    model, _ = member("m", RESIDUAL, image=Image(size=size))
    assert tap(model, "feature_map").shape == (None, side, side, 192)


def test_the_residual_design_looks_at_grey_images_of_half_size():
    model, _ = member("m", RESIDUAL)
    trunk = keras.Model(model.input, tap(model, "frozen"))
    images = pixels(2)
    expected = images.astype("float64").reshape(2, 16, 2, 16, 2, 3).mean(axis=(2, 4, 5))
    np.testing.assert_allclose(trunk.predict_on_batch(images)[..., 0], expected, rtol=0, atol=1e-3)
    assert not trunk.trainable_weights


@pytest.mark.parametrize("settings", [NOTEBOOK, RESIDUAL])
def test_dropout_is_the_recipes(settings):
    model, _ = member("m", settings.model_copy(update={"dropout": 0.5}))
    rates = {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {0.5}
