"""axe-core finds nothing in any state of the page, nor in the report: WCAG 2.2 at levels A and AA."""

import json

import pytest

from .conftest import serving
from .test_page import browser, done, drop, page, pytestmark, shared  # noqa: F401

sync_playwright = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
RULES = {"runOnly": [f"wcag{level}" for level in ("2a", "2aa", "21a", "21aa", "22aa")]}
LOOKS = {
    "wide": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 320, "height": 640}},
    "dark": {"color_scheme": "dark"},
}


def violations(opened):
    found = sync_playwright.Axe().run(opened, options=RULES).response
    assert len(found["passes"]) > 5  # it did look
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]


@pytest.mark.parametrize("look", LOOKS)
def test_every_state_of_the_page(page, slice_png, look):  # noqa: F811
    opened = page(**LOOKS[look])
    assert violations(opened) == []
    drop(opened, "slice.png", slice_png)
    done(opened, "the board says")
    opened.get_by_role("button", name="Show where it looked").click()
    opened.get_by_label("Strength of the overlay").wait_for()
    assert violations(opened) == []
    drop(opened, "bad.png", slice_png[:200])
    opened.locator(".problem:visible").wait_for()
    opened.get_by_role("button", name="Download").wait_for()
    assert violations(opened) == []


def test_a_run_without_a_report(browser, tmp_path):  # noqa: F811
    with serving(tmp_path, json.dumps({})) as (url, _process):
        opened = browser.new_page()
        opened.goto(url + "report")
        assert violations(opened) == []
        opened.close()


@pytest.mark.parametrize("look", LOOKS)
def test_the_report(browser, tmp_path, look):  # noqa: F811
    from tests.reporting.test_page import material
    from tumorboard.reporting.page import page as written

    (tmp_path / "report.html").write_text(written(material()), "utf-8")
    context = browser.new_context(**LOOKS[look])
    opened = context.new_page()
    opened.goto((tmp_path / "report.html").as_uri())
    assert violations(opened) == []
    context.close()
