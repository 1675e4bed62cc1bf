import keras
import numpy as np
import pytest

from tests.small_models import NOTEBOOK, RESIDUAL, joined, member, pixels
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import split_at_frozen, tap
from tumorboard.models.tta import mirror, mirror_averaged


def test_every_pixel_comes_out_at_the_other_side_exactly():
    image = keras.Input((32, 48, 3), name="m_image")
    model = keras.Model(image, mirror(image, "m"))
    given = np.concatenate([pixels(2, size=48), pixels(1, seed=1, size=48)])[:, :32]
    np.testing.assert_array_equal(model.predict_on_batch(given), given[:, :, ::-1].astype(np.float32))
    assert not model.trainable_weights
    assert all(layer.name.startswith("m_") for layer in model.layers)


def of_two():
    return joined("custom", [member("custom", NOTEBOOK, seed) for seed in (0, 1)], "mean")


@pytest.mark.parametrize(
    "made", [lambda: member("custom", RESIDUAL), lambda: member("custom", NOTEBOOK), of_two]
)
def test_the_answer_is_the_mean_over_the_image_and_its_mirror_image(made, tmp_path):
    model, spec = made()
    straight, turned = (probabilities(model, one) for one in (pixels(4), pixels(4)[:, :, ::-1]))
    assert np.abs(straight - turned).max() > 1e-3
    saving.save(mirror_averaged(model), spec, tmp_path / "m.keras")
    found, _ = saving.load(tmp_path / "m.keras")
    np.testing.assert_allclose(probabilities(found, pixels(4)), (straight + turned) / 2, rtol=0, atol=1e-6)


def test_weights_are_there_once_and_the_embedding_is_the_images_own():
    model, _ = member("custom", RESIDUAL)
    twice = mirror_averaged(model)
    assert twice.name == "custom"
    assert twice.count_params() == model.count_params() + 32 * 32
    ends = [keras.Model(one.input, tap(one, "embedding")) for one in (model, twice)]
    np.testing.assert_array_equal(*(end.predict_on_batch(pixels(3)) for end in ends))


def test_a_copy_of_the_last_layer_leaves_the_model_as_it_was():
    model, _ = member("custom", RESIDUAL)
    before = probabilities(model, pixels(2))
    mirror_averaged(model)
    np.testing.assert_array_equal(probabilities(model, pixels(2)), before)
    assert [layer.name for layer in split_at_frozen(model)[1].layers][-1] == "custom_probabilities"
