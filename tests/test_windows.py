import pytest

from tumorboard import config
from tumorboard.errors import RecipeError


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
