"""The page as HTML, and the page in a browser."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import hostile_names
from tests.predictions_strategies import made
from tests.reports.runs import HISTORY, run_results
from tests.reports.test_cross_validation import cross_validation
from tests.reports.test_tuning import BETTER
from tumorboard import NOTICE
from tumorboard.evaluation.selective_prediction import fit_calibration
from tumorboard.reports import html, markdown, terminal
from tumorboard.reports.cross_validation import cross_validation_report
from tumorboard.reports.document import CaptionedImage
from tumorboard.reports.evaluation_report import Evaluation, evaluation_report
from tumorboard.reports.example_images import example_ids
from tumorboard.reports.run_report import run_report
from tumorboard.reports.run_results import SYNTHETIC, AuditFinding
from tumorboard.reports.tuning import tuning_report

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
VOID = {"meta", "img", "wbr"}
OF_NAMES = {"wbr", "bdi"}


def page(results=None, **changes) -> str:
    return html.render(run_report(results or run_results(**changes)))


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
        assert not [value for _, value in attrs if value and re.search("<(wbr|bdi)>", value)]
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_its_links_stay_inside_it() -> None:
    found = Checker(page(calibrated=True))
    assert len(found.ids) == len(set(found.ids))
    assert {link for link in found.links if not link.startswith("data:")} <= {f"#{one}" for one in found.ids}
    assert "script" not in found.tags


def test_the_first_screen_holds_the_recommendation() -> None:
    results = run_results(findings=[AuditFinding("error", "TB401", "duplicates across", "too good")])
    text = page(results)
    first = text[: text.index('id="performance"')]
    accuracy = results.test_scores.accuracy
    assert NOTICE in first
    assert f"Recommended model: {results.recommended}" in first
    assert f"{accuracy.value:.3f} (95% CI {accuracy.low:.3f}-{accuracy.high:.3f}, n = 21)" in first
    assert "1 error, 0 warnings, 0 notes" in first
    assert "duplicates across" in first
    assert "Patient independence was not checked" in first
    assert "one run, with seed 3" in first


def evaluation() -> Evaluation:
    labels = [0, 1, 2] * 20
    models = {name: made([i % n != 0 for i in range(60)], labels) for name, n in (("a", 4), ("b", 3))}
    columns = {"site": {f"s{i}": "north" if i < 30 else "south" for i in range(60)}}
    return Evaluation(
        "Elsewhere", models, {}, columns, {"a": fit_calibration(models["a"])}, ("7 of these are known.",)
    )


@pytest.mark.parametrize(
    "document",
    [
        run_report(run_results(calibrated=True, subsets={"test": {"some": {"test/0.png"}}})),
        cross_validation_report(cross_validation(("normal",))),
        tuning_report(BETTER),
        evaluation_report(evaluation()),
    ],
    ids=["run", "cross-validation", "tuning", "evaluation"],
)
def test_every_number_of_results_md_is_in_report_html(document) -> None:
    def numbers(text: str) -> set[str]:
        return set(re.findall(r"[-+]?\d+(?:\.\d+)?", text))

    text = html.render(document)
    Checker(text)
    visible = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert numbers(markdown.render(document)) <= numbers(visible) | {"8"}  # of image paths: %20 and the like
    assert numbers(terminal.render(document)) <= numbers(visible)


def test_equal_results_give_equal_text() -> None:
    assert page() == page()


def test_names_from_files_become_text_and_nothing_else() -> None:
    plain, hostile = Checker(page()), Checker(page(_hostile()))
    assert set(hostile.tags) - OF_NAMES == set(plain.tags) - OF_NAMES | {"img"}
    assert hostile.attributes <= plain.attributes | {"src", "alt", "width", "height"}
    assert "\u202e" not in page(_hostile())


@pytest.mark.parametrize("name", hostile_names.NAMES[::3])
def test_a_hostile_name_becomes_text(name: str) -> None:
    results = run_results(
        (name, *hostile_names.NAMES[1:3]),
        (name, "b"),
        environment={"command": name, name: name},
        histories={name: HISTORY},
        best_epochs={},
        settings=name,
    )
    plain, found = Checker(page()), Checker(page(results))
    assert set(found.tags) <= set(plain.tags) | OF_NAMES
    assert found.attributes <= plain.attributes
    assert {link for link in found.links if not link.startswith("data:")} <= {f"#{one}" for one in found.ids}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a & short/name", "a &amp; short/name"),
        (
            "adenocarcinoma_left.lower.lobe (0.98)",
            "adenocarcinoma_<wbr>left.<wbr>lower.<wbr>lobe (0.98)",
        ),
        ("x" * 40, f"{'x' * 16}<wbr>{'x' * 16}<wbr>{'x' * 8}"),
        ("\u0645\u0631\u064a\u0636_2/\u0628 (0.98)", "<bdi>\u0645\u0631\u064a\u0636_2/\u0628</bdi> (0.98)"),
        ("\u05d0, \u05d1 and \u05d2.", "<bdi>\u05d0</bdi>, <bdi>\u05d1</bdi> and <bdi>\u05d2</bdi>."),
        ("\u0938" * 40, "\u0938" * 40),  # not between letters that are joined
        ("left\u202eright", "left right"),
        (
            "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645",
            "<bdi>\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645</bdi>",
        ),
    ],
)
def test_long_names_may_break_and_names_from_right_to_left_stand_by_themselves(text, expected) -> None:
    assert html.shown(text) == expected


def _hostile():
    results = run_results(
        HOSTILE[:3],
        HOSTILE[3:5],
        environment={"command": HOSTILE[0], **dict.fromkeys(HOSTILE, HOSTILE[0])},
        recipe=HOSTILE[4],
        settings=HOSTILE[7],
        histories={HOSTILE[3]: HISTORY, HOSTILE[6]: HISTORY},
        best_epochs={},
    )
    pictures = {image_id: [CaptionedImage(HOSTILE[1], b"no picture")] for image_id in example_ids(results)}
    return replace(results, thumbnails=pictures)


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Debian's chromium")
def test_a_browser_runs_nothing_that_a_name_brings_along(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    # Without its policy, so that escaping alone has to hold.
    text = page(_hostile())
    assert html.POLICY.replace("'", "&#39;") in text
    file.write_text(text.replace("default-src &#39;none&#39;", "default-src *"), "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = ["chromium", *flags, "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", file.as_uri()]
    shown_page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    head = shown_page[: shown_page.index("</title>")]
    assert "3 classes" in head[head.index("<title>") :]
    assert "<title>broken" not in shown_page


def test_drawn_images_are_called_drawn_before_anything_else() -> None:
    text = page(synthetic=True)
    assert text.index(SYNTHETIC) < text.index('id="overview"')
    assert SYNTHETIC not in page()


def test_an_interval_stays_on_one_line() -> None:
    assert '<span class="together">(0.711-0.973)</span>' in page()
