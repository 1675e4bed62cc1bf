import pytest

from tumorboard import recipe, windows
from tumorboard.errors import RecipeError


def test_a_window_is_a_preset_or_two_numbers_or_the_files_own():
    assert windows.parse("") is None
    assert windows.parse("lung") == windows.Window("lung", -600, 1500)
    assert windows.parse("mediastinum") == windows.Window("mediastinum", 40, 400)
    assert windows.parse("-40.5,80") == windows.Window("-40.5,80", -40.5, 80)


def test_only_presets_are_in_hounsfield_units():
    found = [windows.parse(text) for text in ("lung", "mediastinum", "40,400")]
    assert [window.hounsfield for window in found if window] == [True, True, False]


@pytest.mark.parametrize(
    "text", ["bone", "40", "40,", "40,0", "40,-1", "nan,1", "0,inf", "1,2,3", "a,b", " "]
)
def test_other_windows_are_refused(text):
    with pytest.raises(ValueError, match="expected lung, mediastinum or CENTER,WIDTH"):
        windows.parse(text)


def test_the_window_is_part_of_a_runs_settings():
    plain = recipe.load("default")
    assert plain.image.window == ""
    lung = plain.with_options(None, None, None, "lung")
    assert lung.image == plain.image.model_copy(update={"window": "lung"})
    assert recipe.parse(recipe.dump(lung), "again") == lung
    assert lung.with_options(None, None, None).image.window == "lung"
    with pytest.raises(RecipeError, match=r"image\.window: expected lung, mediastinum or CENTER,WIDTH"):
        plain.with_options(None, None, None, "bone")
