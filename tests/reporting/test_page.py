"""The page as HTML, and the page in a browser."""

import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import hostile_names
from tumorboard import NOTICE
from tumorboard.evaluation.scores import evaluate
from tumorboard.reporting.board import shown_cases
from tumorboard.reporting.cases import Picture
from tumorboard.reporting.material import Material
from tumorboard.reporting.numbers import of_n, shown
from tumorboard.reporting.page import page
from tumorboard.reporting.study import SYNTHETIC, Finding

from .studies import study

HOSTILE = (
    "<script>document.title='broken'</script>",
    "\" onerror=\"document.title='broken'",
    "<img src=x onerror=document.title='broken'>",
    "javascript:document.title='broken'",
    "</style><script>document.title='broken'</script>",
    "=cmd()|'!A1",
    "left\u202eright",
    "'><svg onload=document.title='broken'>",
    "{{7*7}}",
    "&lt;script&gt;",
)
VOID = {"meta", "img"}


def material(**changes) -> Material:
    rows = [
        {"epoch": e, "loss": 1 / e, "accuracy": 0.5, "val_loss": 2 / e, "val_accuracy": 0.4} for e in (1, 2)
    ]
    return Material(study(**changes), {"custom": rows}, {"custom": 2}, {"python": "3"}, "seed = 3\n", 1)


class Checker(HTMLParser):
    """Collects tags and ids; complains of tags that do not close in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.attributes = [], [], [], [], set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_its_links_stay_inside_it() -> None:
    found = Checker(page(material()))
    assert len(found.ids) == len(set(found.ids))
    assert {link for link in found.links if not link.startswith("data:")} <= {f"#{one}" for one in found.ids}
    assert "script" not in found.tags


def test_the_first_screen_holds_the_answer() -> None:
    one = material(findings=(Finding("error", "TB401", "twins across", "too good"),))
    text = page(one)
    first = text[: text.index('id="results"')]
    best = one.recommended
    assert NOTICE in first
    assert f"Recommended: {best}" in first
    assert f"Test accuracy {shown(evaluate(one.test[best]).accuracy)}" in first
    assert "1 error, 0 warnings, 0 notes" in first
    assert "twins across" in first
    assert "Patient independence was not checked" in first
    assert "one run, seed 3" in first


def test_series_that_file_names_tell_are_a_caution_on_the_first_screen() -> None:
    series = Finding("warning", "TB409", "By the number, 21 series", "A model may know them.")
    text = page(material(findings=(series,)))
    assert "By the number, 21 series. A model may know them." in text[: text.index('id="results"')]


def test_equal_material_gives_equal_text() -> None:
    assert page(material()) == page(material())


def test_every_accuracy_and_recall_has_its_interval() -> None:
    text = page(material())
    for by_split in material().summary.models.values():
        for share in (by_split["test"].accuracy, *by_split["test"].recall.values()):
            assert share.low <= share.value <= share.high
            assert of_n(share) in text


def test_names_from_files_become_text_and_nothing_else() -> None:
    plain, hostile = Checker(page(material())), Checker(page(_hostile()))
    assert set(hostile.tags) == set(plain.tags) | {"img"}
    assert hostile.attributes <= plain.attributes | {"src", "alt", "width", "height"}
    assert "\u202e" not in page(_hostile())


@pytest.mark.parametrize("name", hostile_names.NAMES[::3])
def test_a_hostile_name_becomes_text(name: str) -> None:
    one = material(class_names=(name, *hostile_names.NAMES[1:3]), names=(name, "b"), command=name)
    text = page(Material(one.study, {name: one.histories["custom"]}, {}, {name: name}, name, 1))
    plain, found = Checker(page(material())), Checker(text)
    assert set(found.tags) <= set(plain.tags)
    assert found.attributes <= plain.attributes
    assert {link for link in found.links if not link.startswith("data:")} <= {f"#{one}" for one in found.ids}


def _hostile() -> Material:
    one = material(class_names=HOSTILE[:3], names=HOSTILE[3:5], command=HOSTILE[0], recipe=HOSTILE[4])
    names = {HOSTILE[3]: one.histories["custom"], HOSTILE[6]: one.histories["custom"]}
    pictures = {name: [Picture(HOSTILE[1], b"no picture")] for name in shown_cases(one)}
    return Material(one.study, names, {}, dict.fromkeys(HOSTILE, HOSTILE[0]), HOSTILE[7], 1, pictures)


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Debian's chromium")
def test_a_browser_runs_nothing_that_a_name_brings_along(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    # Without its policy, so that escaping alone has to hold.
    file.write_text(page(_hostile()).replace("default-src 'none'", "default-src *"), "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = ["chromium", *flags, "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", file.as_uri()]
    shown_page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    head = shown_page[: shown_page.index("</title>")]
    assert "Study of 3 classes" in head[head.index("<title>") :]
    assert "<title>broken" not in shown_page


def test_drawn_images_are_called_drawn_before_anything_else() -> None:
    text = page(material(synthetic=True))
    assert text.index(SYNTHETIC) < text.index('id="answer"')
    assert SYNTHETIC not in page(material())


def test_a_loss_of_smoothed_labels_is_called_so_on_its_chart() -> None:
    one = replace(material(), losses={"custom": "loss, labels smoothed by 0.1"})
    assert "custom: loss: loss, labels smoothed by 0.1 over epoch" in page(one)
    assert "smoothed by" not in page(material())
