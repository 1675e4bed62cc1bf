import keras
import numpy as np
import pytest
from keras import layers

from tests.small_models import CUT, member, pixels
from tumorboard.models.backbones import build_backbone
from tumorboard.models.batchnorm_folding import fold_batchnorm

IMAGES = np.random.default_rng(0).normal(0, 1, (3, 64, 64, 3)).astype("float32")


def norms(model):
    return [layer.name for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def names(model):
    return {layer.name for layer in model.layers[1:]}


def remembering(model, seed=0):
    """Batch norms as after a training; fresh ones do next to nothing."""
    draws = np.random.default_rng(seed)
    for name in norms(model):
        norm = model.get_layer(name)
        norm.set_weights([draws.uniform(0.5, 2.0, weight.shape) for weight in norm.get_weights()])
    return model


def around_a_norm(before, norm=None, after=None):
    image = keras.Input((8, 8, 3), name="image")
    x = before(image)
    y = (norm or layers.BatchNormalization(name="norm"))(x)
    return remembering(keras.Model(image, after(x, y) if after else y))


def answering_before_and_behind_a_norm():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3)(image)
    return remembering(keras.Model(image, [x, layers.BatchNormalization(name="norm")(x)]))


@pytest.mark.parametrize(
    ("name", "weights", "left"),
    [
        ("efficientnet-lite0", "imagenet", 0),
        ("resnet50", "none", 0),
        ("mobilenet-v2", "none", 0),
        ("densenet121", "none", 62),  # every other one comes before its convolution
    ],
)
def test_a_backbone_without_its_norms_is_the_same_function(name, weights, left):
    whole = build_backbone(name, weights, IMAGES.shape[1:], "p")
    whole = whole if weights == "imagenet" else remembering(whole)
    folded = fold_batchnorm(whole)
    assert (norms(whole) != [], len(norms(folded))) == (True, left)
    expected = whole.predict_on_batch(IMAGES)
    found = folded.predict_on_batch(IMAGES)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-4)
    assert set(norms(whole)) - set(norms(folded)) == names(whole) - names(folded)


@pytest.mark.parametrize(
    "convolution",
    [
        layers.Conv2D(4, 3, name="c"),
        layers.Conv2D(4, 3, use_bias=False, name="c"),
        layers.DepthwiseConv2D(3, depth_multiplier=1, name="c"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="c"),
    ],
    ids=["bias", "no bias", "depthwise", "depthwise, two a channel"],
)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=str)
def test_kernel_and_bias_take_the_norm_in(convolution, options):
    convolution = convolution.__class__.from_config(convolution.get_config())
    whole = around_a_norm(convolution, layers.BatchNormalization(name="norm", **options))
    folded = fold_batchnorm(whole)
    assert norms(folded) == []
    images = IMAGES[:, :8, :8]
    np.testing.assert_allclose(folded.predict_on_batch(images), whole.predict_on_batch(images), atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        around_a_norm(layers.Conv2D(4, 3, activation="relu")),
        around_a_norm(layers.MaxPooling2D()),
        around_a_norm(layers.Conv2D(4, 3), after=lambda x, y: layers.Add()([x, y])),
        answering_before_and_behind_a_norm(),
    ],
    ids=["an activation between", "no convolution", "another reader", "an answer"],
)
def test_a_norm_that_would_change_something_else_stays(model):
    folded = fold_batchnorm(model)
    assert norms(folded) == ["norm"]
    images = IMAGES[:, :8, :8]
    for found, expected in zip(folded(images), model(images), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_folding_leaves_the_network_that_it_copies_alone():
    whole = around_a_norm(layers.Conv2D(4, 3))
    before = [weight.copy() for weight in whole.get_weights()]
    for weight in fold_batchnorm(whole).weights:
        weight.assign(weight * 0)
    for now, then in zip(whole.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_pretrained_model_with_folded_norms_answers_as_one_that_keeps_them():
    kept, _ = member("m", CUT.model_copy(update={"norms": "frozen"}))
    folded, _ = member("m", CUT.model_copy(update={"norms": "folded"}))
    paths = {weight.path for weight in folded.weights}
    assert any("block2_conv/bias" in path for path in paths)
    assert not any("block2_norm" in path for path in paths)
    np.testing.assert_allclose(
        folded.predict_on_batch(pixels(2)), kept.predict_on_batch(pixels(2)), atol=1e-5
    )
