import unicodedata
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager
from rich.cells import cell_len

from tumorboard.reports import names
from tumorboard.reports.names import font_families, font_file, png_labels, shortened, without_glyphs

CHINESE = "\u6b63\u5e38\u7ec4\u7ec7\u80ba\u817a\u764c"


@pytest.fixture(autouse=True)
def _fresh():
    names._further_fonts.cache_clear()
    names._fonts.cache_clear()
    yield
    names._further_fonts.cache_clear()
    names._fonts.cache_clear()


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=8, unique=True), st.integers(10, 30))
def test_short_names_fit_and_stay_different(given_names, width) -> None:
    short = shortened(given_names, width)
    assert all(cell_len(name) <= width for name in short)
    assert len(set(short)) == len(short)


def test_names_are_cut_in_cells_and_keep_what_tells_them_apart() -> None:
    assert shortened(["normal", CHINESE], 10) == ["normal", f"{CHINESE[:4]}\u2026"]
    start = "adenocarcinoma_of_the_left_lobe_"
    assert shortened([f"{start}a", f"{start}b"], 14) == ["adenocarc\u2026be_a", "adenocarc\u2026be_b"]
    inside = [f"{start}{i}{'z' * 20}" for i in (1, 2)]
    assert shortened(inside, 14) == ["1 adenocarc\u2026", "2 adenocarc\u2026"]


def test_no_mark_is_cut_from_its_letter() -> None:
    cut = shortened(["e\u0301" * 30, "x"], 10)[0]
    assert unicodedata.normalize("NFC", cut) == "\u00e9" * 9 + "\u2026"


def test_a_font_is_chosen_that_has_what_the_first_lacks(monkeypatch) -> None:
    """STIX comes with matplotlib and has letters that DejaVu Sans lacks."""
    assert font_families("abc") == ["DejaVu Sans"]
    stix = Path(mpl.get_data_path()) / "fonts/ttf/STIXGeneral.ttf"
    lacking = names._characters(str(stix)) - names._characters(font_manager.findfont("DejaVu Sans"))
    letter = next(chr(c) for c in sorted(lacking) if unicodedata.category(chr(c)).startswith(("S", "L")))
    monkeypatch.setattr(
        names,
        "_fonts",
        lambda: [font for font in font_manager.fontManager.ttflist if "STIXGeneral" in font.name],
    )
    assert font_families(f"a{letter}") == ["DejaVu Sans", "STIXGeneral"]
    assert not without_glyphs(letter)
    assert font_file(letter).name.startswith("STIXGeneral")
    assert font_file("abc").name == "DejaVuSans.ttf"


def test_a_name_without_a_font_is_its_number(monkeypatch) -> None:
    monkeypatch.setattr(names, "_fonts", lambda: [])
    assert without_glyphs(CHINESE)
    assert font_file(CHINESE) is None
    assert png_labels(["normal", CHINESE, CHINESE[::-1]], 20) == ["normal", "2", "3"]


def test_boxes_and_fonts_that_are_gone_show_nothing(monkeypatch, tmp_path) -> None:
    assert not [font for font in names._fonts() if "Last Resort" in font.name]
    assert names._characters(str(tmp_path / "gone.ttf")) == frozenset()
