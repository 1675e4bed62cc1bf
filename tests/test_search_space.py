from pathlib import Path

import pytest

from tests.test_config import MINIMAL, SHIPPED
from tumorboard import config, search_space
from tumorboard.errors import RecipeError
from tumorboard.search_space import Range

OWN = config.parse(MINIMAL, "minimal")
RATE = '"models.custom.training.learning_rate"'


def declared(folder: Path, lines: str) -> search_space.Space:
    path = folder / "mine.toml"
    path.write_text(f"{MINIMAL}[search]\n{lines}\n")
    return search_space.load(str(path), config.load(str(path)))


def test_ranges_and_choices_are_read_as_the_recipe_has_them(tmp_path: Path) -> None:
    space = declared(
        tmp_path,
        f"{RATE} = {{ low = 1e-4, high = 1e-2, log = true }}\n"
        '"models.custom.augmentation.rotation" = [0, 0.1, 0.2]\n'
        '"models.pretrained.units" = { low = 128, high = 512 }\n'
        '"models.custom.training.optimizer" = ["adam", "adamw"]\n'
        '"models.custom.training.class_weights" = [true, false]\n'
        '"image.size" = [128, 224]',
    )
    assert space == {
        "models.custom.training.learning_rate": Range(low=1e-4, high=1e-2, log=True),
        "models.custom.augmentation.rotation": [0.0, 0.1, 0.2],
        "models.pretrained.units": Range(low=128, high=512),
        "models.custom.training.optimizer": ["adam", "adamw"],
        "models.custom.training.class_weights": [True, False],
        "image.size": [128, 224],
    }


@pytest.mark.parametrize(
    "lines", ['"models.custom.dropout" = [0.1, 0.25]', "'nonsense' = 3", "models.custom = 1"], ids=str
)
def test_a_recipe_is_the_same_whatever_it_declares(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{MINIMAL}[search]\n{lines}\n")
    assert config.load(str(path)) == OWN
    assert config.dump(config.load(str(path))) == config.dump(OWN)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            '"models.custom.training.rate" = [1, 2]',
            "unknown setting 'models.custom.training.rate'; known here: ",
        ),
        ('"models.forest.dropout" = [0.1, 0.2]', "known here: pretrained, custom"),
        ('"seed" = [0, 1]', "known here: image, models, ensemble, chained"),
        ('"splitting.test" = [0.1, 0.2]', "known here: image, models, ensemble, chained"),
        ('"image.window" = ["", "lung"]', "known here: size, resize, interpolation"),
        ('"models.custom" = [1, 2]', "such as 'models.custom."),
        ("models.custom.dropout = [0.1, 0.25]", "the name of one setting in quotes"),
        ('"models.custom.dropout.more" = [1, 2]', "unknown setting"),
        ('"ensemble.members" = [["a", "b"], ["b", "c"]]', "the name of one setting"),
        (f"{RATE} = 0.1", "a list of choices, or a table of low, high and log"),
        (f"{RATE} = [1e-3]", "at least 2"),
        (f"{RATE} = [1e-3, [1]]", "valid"),
        (f"{RATE} = {{ low = 1e-3 }}", "Field required"),
        (f"{RATE} = {{ low = 1e-3, high = 1e-2, steps = 3 }}", "Extra inputs"),
        (f"{RATE} = {{ low = 1e-2, high = 1e-3 }}", "low must be below high"),
        (f"{RATE} = {{ low = -1.0, high = 1e-2, log = true }}", "above 0 for a logarithm"),
        (f"{RATE} = {{ low = 0, high = 1e-2 }}", "greater than 0 (found 0.0)"),
        ('"models.custom.training.epochs" = { low = 1.5, high = 200 }', "valid integer"),
        ('"models.custom.training.optimizer" = ["adam", "sgd"]', "'adam' or 'adamw'"),
        ('"models.custom.training.optimizer" = { low = 1, high = 2 }', "a list of choices for 'adam'"),
        ('"models.custom.training.class_weights" = { low = 0, high = 1 }', "a list of choices for False"),
        (f"{RATE} = {{ low = 1e-2, high = 1e-1 }}", "with the recipe's own value 0.001 in it"),
        ('"models.custom.dropout" = [0.0, 0.1]', "with the recipe's own value 0.25 in it"),
    ],
)
def test_what_cannot_be_searched_is_one_line(tmp_path: Path, lines: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        declared(tmp_path, lines)
    assert said in str(caught.value)
    assert "mine.toml: search: " in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_search_that_is_no_table_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("search = 3\n" + MINIMAL)
    with pytest.raises(RecipeError, match=r"expected a table \[search\], found '3'"):
        search_space.load(str(path), config.load(str(path)))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_space_fits_its_recipe(name: str) -> None:
    space = search_space.load(name, config.load(name))
    assert bool(space) == (name == "default")


def test_the_default_can_be_searched_for_every_model() -> None:
    own = config.load("default")
    space = search_space.load("default", own)
    for model in (*own.models, "ensemble", "chained"):
        assert search_space.bearing_on(space, own, model)


def test_only_what_can_change_a_model_bears_on_it() -> None:
    names = (
        "models.pretrained.units",
        "models.custom.dropout",
        "ensemble.form",
        "chained.units",
        "image.size",
    )
    space = {name: [1, 2] for name in names}

    def bearing_on(model: str) -> list[str]:
        return list(search_space.bearing_on(space, OWN, model))

    assert bearing_on("custom") == ["models.custom.dropout", "image.size"]
    assert bearing_on("pretrained") == ["models.pretrained.units", "image.size"]
    assert bearing_on("ensemble") == [name for name in names if name != "chained.units"]
    assert bearing_on("chained") == ["models.pretrained.units", "chained.units", "image.size"]


def test_values_change_their_settings_and_nothing_else() -> None:
    values = {"models.custom.training.learning_rate": 0.5, "ensemble.form": "vote"}
    changed = search_space.with_values(OWN, values)
    assert {name: search_space.value(changed, name) for name in values} == values
    own = {name: search_space.value(OWN, name) for name in values}
    assert search_space.with_values(changed, own) == OWN
    with pytest.raises(RecipeError, match="learning_rate"):
        search_space.with_values(OWN, {"models.custom.training.learning_rate": -1.0})
