from importlib import resources
from pathlib import Path

import pytest

from tumorboard import config
from tumorboard.errors import RecipeError

SHIPPED = sorted(
    file.name.removesuffix(".toml")
    for file in (resources.files("tumorboard") / "recipes").iterdir()
    if file.name.endswith(".toml")
)
MINIMAL = 'name = "mine"\n[models.pretrained]\nkind = "pretrained"\n[models.custom]\nkind = "custom"\n'


def test_the_recipes_that_are_promised_are_shipped() -> None:
    assert {"default", "probe", "notebook", "notebook-fast", "demo"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads_under_its_own_name_and_survives_a_round_trip(name: str) -> None:
    loaded = config.load(name)
    assert loaded.name == name
    assert loaded.description
    assert config.parse(config.dump(loaded), "dumped") == loaded


def test_notebook_is_the_study_to_the_letter() -> None:
    study = config.load("notebook")
    pretrained = study.models["pretrained"]
    assert (pretrained.backbone, pretrained.preprocessing, pretrained.pooling) == ("resnet50", "unit", "max")
    assert (study.image.size, study.ensemble.form, study.chained.start) == (224, "mean_dense", "fresh")
    for training in (pretrained.training, study.models["custom"].training, study.chained.training):
        assert (training.epochs, training.patience, training.batch) == (100, 20, 32)
        assert (training.optimizer, training.views, training.label_smoothing) == ("adam", 0, 0)


def test_notebook_fast_differs_from_notebook_in_how_it_computes_alone() -> None:
    fast = config.load("notebook-fast").model_dump()
    slow = config.load("notebook").model_dump()
    assert fast["models"]["pretrained"]["training"].pop("views") > 0
    assert fast["chained"]["training"].pop("views") > 0
    assert fast["models"]["pretrained"].pop("norms") == "folded"
    slow["models"]["pretrained"].pop("norms")
    slow["models"]["pretrained"]["training"].pop("views")
    slow["chained"]["training"].pop("views")
    for content in (fast, slow):
        content.pop("name"), content.pop("description")
    assert fast == slow


def test_probe_differs_from_the_default_in_the_pretrained_model_alone() -> None:
    probe, default = config.load("probe"), config.load("default")
    assert probe.models["pretrained"].head == "lda"
    assert probe.models["custom"] == default.models["custom"]
    assert (probe.ensemble, probe.chained, probe.image) == (default.ensemble, default.chained, default.image)


@pytest.mark.parametrize(
    "change", ['cut = "upper"', "training = { views = 0 }", 'training = { views = 2, balance = "group" }']
)
def test_a_head_in_closed_form_needs_cached_views_of_a_frozen_backbone(change: str) -> None:
    with pytest.raises(RecipeError, match=r"lda.*needs cut"):
        config.parse(MINIMAL + f'[models.probe]\nkind = "pretrained"\nhead = "lda"\n{change}\n', "mine")


def test_dump_writes_every_setting_out() -> None:
    loaded = config.parse(MINIMAL, "minimal")
    text = config.dump(loaded)
    for section in (config.Training, config.Augmentation, config.Pretrained, config.Custom, config.Image):
        assert all(f"{key} = " in text or f".{key}]" in text for key in section.model_fields)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("colour = 1\n" + MINIMAL, config.Recipe),
        (MINIMAL + "[image]\ncolour = 1", config.Image),
        (MINIMAL + "[splitting]\ncolour = 1", config.Splitting),
        (MINIMAL + "[ensemble]\ncolour = 1", config.Ensemble),
        (MINIMAL + "[ensemble.training]\ncolour = 1", config.Training),
        (MINIMAL + "[chained]\ncolour = 1", config.Chained),
        (MINIMAL + "[chained.training]\ncolour = 1", config.Training),
        (MINIMAL + "[models.image]\nkind = 'custom'\ncolour = 1", config.Custom),
        (MINIMAL + "[models.other]\nkind = 'pretrained'\ncolour = 1", config.Pretrained),
        (MINIMAL + "[models.custom.training]\ncolour = 1", config.Training),
        (MINIMAL + "[models.pretrained.augmentation]\ncolour = 1", config.Augmentation),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_an_unknown_key_at_any_level_lists_the_known_ones(text: str, known: type) -> None:
    with pytest.raises(RecipeError) as caught:
        config.parse(text, "some.toml")
    message = str(caught.value)
    assert message.startswith("some.toml: unknown key")
    assert "colour" in message
    names = [*known.model_fields, *(["search"] if known is config.Recipe else [])]
    assert message.endswith("known here: " + ", ".join(names))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINIMAL + "[image]\nsize = 31", "image.size"),
        (MINIMAL + "[image]\nsize = '64'\nresize = 'crop'", "image.resize"),
        (MINIMAL + "[splitting]\ntest = 0.5", "splitting.test"),
        (MINIMAL + "[chained.training]\nepochs = 0", "chained.training.epochs"),
        (MINIMAL + "[chained.training]\nlearning_rate = 0", "learning_rate"),
        (MINIMAL + "[chained.training]\nlearning_rate = nan", "learning_rate"),
        (MINIMAL + "[chained.training]\noptimizer = 'sgd'", "'adam' or 'adamw'"),
        (MINIMAL + "[chained.training]\naverage = 0.9", "average needs patience = 0"),
        (MINIMAL + "[models.more]\nkind = 'forest'", "'pretrained', 'custom'"),
        (MINIMAL + "[models.more]\ndesign = 'residual'", "kind"),
        (MINIMAL + "[models.More]\nkind = 'custom'", "More"),
        (MINIMAL + "[models.ensemble]\nkind = 'custom'", "may not be named ['ensemble']"),
        (MINIMAL + "[ensemble]\nmembers = ['custom']", "ensemble.members"),
        (MINIMAL + "[ensemble]\nmembers = ['custom', 'nobody']", "'nobody' is not one of the models"),
        (MINIMAL + "[chained]\nfirst = 'nobody'", "'nobody' is not one of the models"),
        (MINIMAL + "[chained]\nfirst = 'custom'", "must be a pretrained model"),
        (MINIMAL + "[chained]\nothers = ['nobody']", "'nobody' is not one of the models"),
        (MINIMAL + "[chained]\nothers = ['pretrained']", "each of the chain's links once"),
        (
            MINIMAL + "design = 'notebook'\n[chained]\nothers = ['custom']\ntraining = { views = 1 }",
            "'custom' has no frozen part to keep; set chained.training.views = 0",
        ),
        ("seed = -1\n" + MINIMAL, "seed"),
        ('name = "no models"', "models"),
        ("name = ", "not valid TOML"),
        ("name = '" + "x" * 400 + "\n", "not valid TOML"),
        (MINIMAL + "[image]\nsize = '" + "x" * 400 + "'", "image.size"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_in_one_line(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        config.parse(text, "some.toml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("some.toml")
    assert len(str(caught.value).splitlines()) == 1


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        config.parse(MINIMAL + "[image]\nsize = 1\nresize = 'crop'", "some.toml")
    assert "image.size" in str(caught.value)
    assert [line.split(":")[0] for line in caught.value.details] == ["image.resize"]


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config.parse(MINIMAL, "minimal").seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])  # the last two are Notepad's
def test_a_file_is_read_like_a_shipped_recipe(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(MINIMAL.replace("\n", "\r\n").encode(encoding))
    assert config.load(str(path)) == config.parse(MINIMAL, "x")


@pytest.mark.parametrize("content", [None, b"\xff\x81", "folder"], ids=["missing", "not UTF-8", "a folder"])
def test_what_is_no_recipe_lists_the_shipped_ones(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "mine.toml"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        config.load(str(path))
    assert all(name in str(caught.value) for name in SHIPPED)
    assert "mine.toml" in str(caught.value)


def test_an_endless_name_is_an_error_like_any_other() -> None:
    with pytest.raises(RecipeError, match="default"):
        config.load("x" * 10_000)


def test_options_change_the_pretrained_models_and_the_seed_and_nothing_else() -> None:
    text = MINIMAL + "[models.second]\nkind = 'pretrained'\nunits = 8\n"
    before = config.parse(text, "x")
    after = before.with_options(backbone="resnet50", weights="none", seed=7)
    assert (after.seed, after.name) == (7, "mine")
    assert after.models["custom"] == before.models["custom"]
    for name in ("pretrained", "second"):
        chosen = after.models[name]
        assert (chosen.backbone, chosen.weights) == ("resnet50", "none")
        assert (
            chosen.model_copy(update={"backbone": "efficientnet-lite0", "weights": "imagenet"})
            == before.models[name]
        )


def test_no_options_change_nothing() -> None:
    before = config.load("default")
    assert before.with_options(backbone=None, weights=None, seed=None) == before


def test_a_seed_out_of_range_is_refused() -> None:
    with pytest.raises(RecipeError, match="seed"):
        config.load("default").with_options(backbone=None, weights=None, seed=-1)


def test_every_model_names_its_own_training() -> None:
    loaded = config.load("default")
    found = [loaded.training(name) for name in ("custom", "ensemble", "chained")]
    assert found == [loaded.models["custom"].training, loaded.ensemble.training, loaded.chained.training]


def test_a_window_is_a_preset_or_two_numbers_or_the_files_own():
    assert config.parse_window("") is None
    assert config.parse_window("lung") == config.Window("lung", -600, 1500)
    assert config.parse_window("mediastinum") == config.Window("mediastinum", 40, 400)
    assert config.parse_window("-40.5,80") == config.Window("-40.5,80", -40.5, 80)


def test_only_presets_are_in_hounsfield_units():
    found = [config.parse_window(text) for text in ("lung", "mediastinum", "40,400")]
    assert [window.hounsfield for window in found if window] == [True, True, False]


@pytest.mark.parametrize(
    "text", ["bone", "40", "40,", "40,0", "40,-1", "nan,1", "0,inf", "1,2,3", "a,b", " "]
)
def test_other_windows_are_refused(text):
    with pytest.raises(ValueError, match="expected lung, mediastinum or CENTER,WIDTH"):
        config.parse_window(text)


def test_the_window_is_part_of_a_runs_settings():
    plain = config.load("default")
    assert plain.image.window == ""
    lung = plain.with_options(None, None, None, "lung")
    assert lung.image == plain.image.model_copy(update={"window": "lung"})
    assert config.parse(config.dump(lung), "again") == lung
    assert lung.with_options(None, None, None).image.window == "lung"
    with pytest.raises(RecipeError, match=r"image\.window: expected lung, mediastinum or CENTER,WIDTH"):
        plain.with_options(None, None, None, "bone")
