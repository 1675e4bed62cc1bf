import json
from dataclasses import replace

import numpy as np
import pytest

from tests.data import dicoms
from tests.data.pictures import GREY, plant, png
from tests.small_models import CLASSES, IMAGE, NOTEBOOK, joined, member, pixels
from tumorboard.config import Image, Training
from tumorboard.data.image_reader import read_image, to_input
from tumorboard.data.manifest import DataSource
from tumorboard.ensembles import boosting, combination
from tumorboard.ensembles.combination import CombinationRule
from tumorboard.ensembles.ensemble import build_ensemble
from tumorboard.errors import DataError, ModelError, UsageError
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
from tumorboard.training import feature_cache
from tumorboard.workflows import fit_combination as pipeline
from tumorboard.workflows.combine import combine


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Two epochs; what is learned matters here only in that it is learned."""
    monkeypatch.setattr(pipeline, "HEAD_TRAINING", Training(epochs=2, batch=4))
    monkeypatch.setattr(pipeline, "CHAIN_TRAINING", Training(epochs=2, batch=4, views=2))
    monkeypatch.setattr(saving.safe_loading, "load_in_child", lambda path: None)  # takes seconds


def noise(seed):
    return png(40, 24, 8, GREY, pixels(1, seed, 31).tobytes()[: 40 * 24])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three classes, four images of each to train on and two to validate; test is damaged throughout."""
    counts = {"train": 4, "valid": 2, "test": 2}
    files = {
        f"{split}/{name}/{n}.png": noise(100 * step + 10 * at + n)
        for step, (split, count) in enumerate(counts.items())
        for at, name in enumerate(CLASSES)
        for n in range(count)
    }
    files |= {name: b"no image" for name in files if name.startswith("test/")}
    return plant(tmp_path_factory.mktemp("study"), files)


@pytest.fixture(scope="module")
def networks():
    return [member("pretrained"), member("custom", NOTEBOOK)]


def stored(members, folder):
    paths = [folder / f"{number}" / f"{spec.name}.keras" for number, (_, spec) in enumerate(members)]
    for (model, spec), path in zip(members, paths, strict=True):
        saving.save(model, spec, path)
    return paths


@pytest.fixture
def paths(networks, tmp_path):
    return stored(networks, tmp_path / "models")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "mean.keras"


@pytest.fixture
def taught(monkeypatch):
    """What each fit was given."""
    given = []

    def spy(console, network, training, train, valid, name, **options):
        given.append((network, training, train, valid))
        return fit_with_progress(console, network, training, train, valid, name, **options)

    fit_with_progress = pipeline.fit_with_progress
    monkeypatch.setattr(pipeline, "fit_with_progress", spy)
    return given


def inputs(data, split, image=IMAGE):
    """The images of a split by class and number, read without the pipeline, and their classes."""
    files = sorted((data / split).glob("*/*.png"), key=lambda file: file.relative_to(data).as_posix())
    return np.stack([to_input(read_image(file).pixels, image) for file in files]), [
        file.parent.name for file in files
    ]


def opinions(members, data, split):
    images, labels = inputs(data, split)
    numbers = np.array([CLASSES.index(label) for label in labels])
    ids = tuple(map(str, range(len(labels))))
    return [Predictions(ids, numbers, CLASSES, probabilities(model, images)) for model, _ in members]


def one_line(error):
    message = str(error.value)
    assert len(message) <= 300
    assert "\n" not in message
    return message


@pytest.mark.parametrize("form", ["mean", "vote"])
def test_forms_that_learn_nothing_need_no_data(paths, networks, out, form):
    spec = combine(paths, out, form)
    model, said = saving.load(out)
    assert said == spec
    assert (spec.name, spec.kind, spec.class_names) == ("mean", "ensemble", CLASSES)
    assert spec.details == {"form": form, "members": ["pretrained", "custom"], "seed": 0}
    answers = np.stack([probabilities(network, pixels(3)) for network, _ in networks])
    if form == "vote":
        answers = np.eye(3)[answers.argmax(axis=2)]
    np.testing.assert_allclose(probabilities(model, pixels(3)), answers.mean(axis=0), rtol=0, atol=1e-6)
    assert sorted(file.name for file in out.parent.iterdir()) == ["mean.json", "mean.keras"]


def test_one_model_is_mirrored(paths, networks, out):
    spec = combine(paths[:1], out, "mirrored")
    assert spec.details == {"form": "mirrored", "members": ["pretrained"], "seed": 0}
    both = [probabilities(networks[0][0], images) for images in (pixels(3), pixels(3)[:, :, ::-1])]
    np.testing.assert_allclose(
        probabilities(saving.load(out)[0], pixels(3)), np.mean(both, axis=0), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    "form", ["mean_dense", "concat_dense", "weighted", "greedy", "stacked", "boosted", "chain"]
)
def test_forms_that_learn_ask_for_data(paths, out, form):
    with pytest.raises(UsageError, match=f"form {form} .*expected --data"):
        combine(paths, out, form)
    assert not out.parent.exists()


@pytest.mark.parametrize("form", ["mean_dense", "concat_dense"])
def test_a_head_learns_from_the_members_answers_to_the_same_images(paths, networks, out, data, taught, form):
    spec = combine(paths, out, form, data=data)
    ((_, _, train, valid),) = taught
    for examples, split in ((train, "train"), (valid, "valid")):
        expected = opinions(networks, data, split)
        assert examples.labels.tolist() == expected[0].labels.tolist()
        for (rows,), one in zip(examples.inputs, expected, strict=True):
            np.testing.assert_array_equal(rows, one.probabilities)
    assert spec.details["epochs"] == 2
    fresh = build_ensemble("mean", networks, CombinationRule(form))
    assert not np.allclose(probabilities(saving.load(out)[0], pixels(2)), probabilities(fresh, pixels(2)))
    assert sorted(file.name for file in out.parent.iterdir()) == ["mean.json", "mean.keras"]


def test_weights_are_chosen_on_validation(paths, networks, out, data):
    spec = combine(paths, out, "weighted", data=data)
    chosen = combination.choose_weights(opinions(networks, data, "valid"))
    assert spec.details["weights"] == list(chosen)
    answers = np.stack([probabilities(network, pixels(3)) for network, _ in networks])
    expected = np.tensordot(chosen, answers, axes=1)
    np.testing.assert_allclose(probabilities(saving.load(out)[0], pixels(3)), expected, rtol=0, atol=1e-6)


def test_heads_are_boosted_on_validation_images(paths, networks, out, data, monkeypatch):
    given = []
    monkeypatch.setattr(boosting, "fit", lambda *args: given.append(args) or two_heads())
    spec = combine(paths, out, "boosted", data=data)
    images, labels = inputs(data, "valid")
    ((features, seen, classes),) = given
    np.testing.assert_array_equal(features, boosting.embed(networks, images))
    assert (seen.tolist(), classes) == ([CLASSES.index(label) for label in labels], 3)
    assert spec.details["weights"] == [2.0, 1.0]
    assert saving.load(out)[0].get_layer("mean_head1").kernel.shape == (136, 3)


def two_heads():
    return CombinationRule("boosted", (2.0, 1.0), ((0.1,) * 6,) * 136, (0.0,) * 6)


def test_a_chain_of_models_with_a_frozen_part_learns_from_cached_views(
    networks, tmp_path, out, data, taught, monkeypatch
):
    frozen = stored([networks[0], member("second", seed=5)], tmp_path)
    computed, compute = [], feature_cache.compute_views

    def noted(trunk, *args, **options):
        computed.append(len(trunk.outputs))
        return compute(trunk, *args, **options)

    monkeypatch.setattr(feature_cache, "compute_views", noted)
    spec = combine(frozen, out, "chain", data=data)
    assert computed == [1] * 4  # each link's by itself, of train and valid: so its moves can be joined
    ((network, training, train, valid),) = taught
    assert spec.kind == "chained"
    assert [len(views) for views in train.inputs] == [2, 2]
    assert [len(views) for views in valid.inputs] == [1, 1]
    assert network.input_shape == [(None, 6), (None, 6)]
    assert training.views == 2
    model, _ = saving.load(out)
    assert model.get_layer("mean_concatenate").output.shape == (None, 16)
    original = networks[0][0].get_layer("pretrained_dense").get_weights()[0]
    assert not np.array_equal(model.get_layer("mean_pretrained_dense").get_weights()[0], original)
    assert sorted(file.name for file in out.parent.iterdir()) == ["mean.json", "mean.keras"]


def test_a_chain_with_a_model_that_learns_throughout_is_trained_on_images(
    paths, out, data, taught, monkeypatch
):
    def refuse(*args, **options):
        raise AssertionError("nothing can be computed once")

    monkeypatch.setattr(feature_cache, "compute_views", refuse)
    combine(paths, out, "chain", data=data)
    ((network, _, train, _),) = taught
    assert network.input_shape == (None, 32, 32, 3)
    np.testing.assert_array_equal(train.inputs[0][0][:], inputs(data, "train")[0])


def test_the_same_seed_gives_the_same_bits(paths, tmp_path, data):
    found = []
    for number, seed in enumerate((1, 1)):
        out = tmp_path / f"{number}" / "joint.keras"
        combine(paths, out, "concat_dense", data=data, seed=seed)
        found.append(saving.load(out)[0].get_layer("joint_probabilities").get_weights()[0])
    np.testing.assert_array_equal(found[0], found[1])


def test_the_images_are_made_as_the_models_say(tmp_path, out, data, taught):
    image = Image(size=48, resize="pad", interpolation="box")
    members = [member(name, NOTEBOOK, image=image) for name in ("first", "second")]
    spec = combine(stored(members, tmp_path), out, "concat_dense", data=data)
    assert spec.image == image
    expected = probabilities(members[0][0], inputs(data, "train", image)[0])
    np.testing.assert_array_equal(taught[0][2].inputs[0][0], expected)


@pytest.mark.parametrize(("frames", "count"), [(None, 6), ("middle", 6), ("all", 18)])
def test_slices_are_those_of_the_models_unless_others_are_named(tmp_path, frames, count):
    files = {
        f"{split}/{name}/{n}.dcm": dicoms.frames(np.full((3, 8, 8), 100 * i + 10 * n, np.uint16))
        for split in ("train", "valid")
        for i, name in enumerate(CLASSES)
        for n in range(2)
    }
    shared = member("custom", NOTEBOOK, image=Image(frames="middle"))[1]
    parts = pipeline.read_parts(
        DataSource(plant(tmp_path / "scans", files)), shared, tmp_path, Console(quiet=True), frames
    )
    assert len(parts["train"][0].samples) == len(parts["valid"][0].samples) == count


def test_labels_follow_the_models_order_of_classes(tmp_path, out, data, taught):
    members = [member(name, NOTEBOOK, class_names=("c", "a", "b")) for name in ("first", "second")]
    spec = combine(stored(members, tmp_path), out, "concat_dense", data=data)
    assert spec.class_names == ("c", "a", "b")
    expected = [("c", "a", "b").index(label) for label in inputs(data, "train")[1]]
    assert taught[0][2].labels.tolist() == expected


def test_models_of_the_same_name_can_be_combined(networks, tmp_path, out):
    namesakes = stored([networks[1], member("custom", NOTEBOOK, seed=3)], tmp_path)
    combine([str(path) for path in namesakes], str(out), "mean")
    names = {layer.name for layer in saving.load(out)[0].layers}
    assert {"mean_custom_probabilities", "mean_custom_2_probabilities"} <= names


def test_what_was_combined_can_be_combined_again(paths, tmp_path, out):
    combine(paths, tmp_path / "inner.keras", "mean")
    spec = combine([tmp_path / "inner.keras", paths[1]], out, "vote")
    assert spec.details["members"] == ["inner", "custom"]
    assert saving.load(out)[0].output_shape == (None, 3)


@pytest.mark.parametrize(
    ("file", "name"),
    [("Mean 2.0-b.keras", "mean_2_0_b"), ("2.keras", "combined_2"), ("Ä.keras", "combined")],
)
def test_any_file_name_gives_a_name_for_layers(paths, tmp_path, file, name):
    assert combine(paths, tmp_path / file, "mean").name == name
    assert saving.load(tmp_path / file)[1].name == name


@pytest.mark.parametrize("name", ["mean.h5", "mean", "mean.keras.zip"])
def test_another_ending_is_refused(paths, tmp_path, name):
    with pytest.raises(UsageError, match=r"--out to end in \.keras"):
        combine(paths, tmp_path / name, "mean")


def test_no_model_is_written_over(paths, tmp_path):
    before = paths[0].read_bytes()
    with pytest.raises(UsageError, match="found one of the models"):
        combine(paths, paths[0].parent / ".." / "0" / "pretrained.keras", "mean")
    assert paths[0].read_bytes() == before


def test_no_model_is_added_to_those_of_a_run(paths, tmp_path):
    (tmp_path / "SHA256SUMS").write_text("")
    with pytest.raises(UsageError, match="--out outside of a run's models"):
        combine(paths, tmp_path / "models" / "ensemble.keras", "mean")


def test_an_unknown_form_lists_the_known_ones(paths, out):
    known = "boosted, chain, concat_dense, greedy, mean, mean_dense, mirrored, stacked, vote, weighted"
    with pytest.raises(UsageError, match=known):
        combine(paths, out, "median")


def test_data_that_no_form_uses_are_refused(paths, out, data):
    with pytest.raises(UsageError, match="form mean is not fitted on images: expected no --data"):
        combine(paths, out, "mean", data=data)


def test_one_model_is_not_enough(paths, out):
    with pytest.raises(ModelError, match="at least two models"):
        combine(paths[:1], out, "mean")


@pytest.mark.parametrize("form", ["mean", "chain"])
def test_a_pair_that_does_not_fit_is_told_why(networks, tmp_path, out, data, form):
    model, spec = networks[1]
    other = model, replace(spec, class_names=("a", "b", "z"))
    with pytest.raises(ModelError, match="do not fit together: other classes") as error:
        combine(stored([networks[0], other], tmp_path), out, form, data=data if form == "chain" else None)
    one_line(error)
    assert not out.exists()


def test_a_chain_needs_embeddings_and_leaves_nothing_behind(networks, tmp_path, out, data):
    paths = stored([joined("inner", networks, "mean"), networks[1]], tmp_path)
    with pytest.raises(ModelError, match="'inner_embedding'"):
        combine(paths, out, "chain", data=data)
    assert not list(out.parent.iterdir())


def test_other_classes_of_the_data_are_named_with_the_models(paths, out, tmp_path):
    files = {f"{s}/{name}/{n}.png": noise(n) for s in ("train", "valid") for name in "xy" for n in range(2)}
    with pytest.raises(DataError, match=r"models' classes \(a, b, c\) in study, found \(x, y\)") as error:
        combine(paths, out, "concat_dense", data=plant(tmp_path / "study", files))
    assert "--class-map" in one_line(error)
    assert not list(out.parent.iterdir())


def test_classes_of_the_data_can_be_merged_into_the_models(tmp_path, out, data, taught):
    members = [member(name, NOTEBOOK, class_names=("ab", "c")) for name in ("first", "second")]
    combine(stored(members, tmp_path), out, "concat_dense", data=DataSource(data, merge={"ab": ("a", "b")}))
    assert taught[0][2].labels.tolist() == [0] * 8 + [1] * 4


@pytest.mark.parametrize("gone", ["train", "valid"])
def test_a_missing_part_is_named(paths, out, tmp_path, gone):
    other = {"train": "valid", "valid": "train"}[gone]
    files = {
        f"{split}/{name}/{n}.png": noise(n) for split in (other, "test") for name in CLASSES for n in (1, 2)
    }
    with pytest.raises(DataError, match=f"found no {gone}"):
        combine(paths, out, "concat_dense", data=plant(tmp_path / "study", files))


def test_a_damaged_image_is_named_or_left_out(paths, out, tmp_path, data, taught):
    files = {file.relative_to(data).as_posix(): file.read_bytes() for file in data.glob("*/*/*.png")}
    study = plant(tmp_path / "study", files | {"train/a/0.png": b"no image"})
    with pytest.raises(DataError, match="--skip-bad") as error:
        combine(paths, out, "concat_dense", data=study)
    assert [line for line in error.value.details if "0.png" in line]
    combine(paths, out, "concat_dense", data=DataSource(study, skip_bad=True))
    assert len(taught[0][2].labels) == 11


def test_the_contract_is_json_beside_the_model(paths, out):
    spec = combine(paths, out, "mean", seed=7)
    content = json.loads(saving.spec_path(out).read_text("utf-8"))
    assert content["details"] == spec.details
    assert content["details"]["seed"] == 7
