"""Every page that we make, judged by axe-core (WCAG 2.2 A and AA): light and dark, on a desk and a phone."""

from dataclasses import replace

import pytest

from tests.browsing import axe, browser, faults_everywhere, needs_browser, playwright, watched  # noqa: F401
from tests.reports.runs import run_results
from tests.reports.test_cross_validation import cross_validation
from tests.server.conftest import serving, slice_png  # noqa: F401
from tests.workflows.conftest import tiny_backbone_for_all  # noqa: F401
from tests.workflows.test_report import context, unwritten, write_results  # noqa: F401  the fixtures
from tumorboard.reports import html
from tumorboard.reports.charts import MatrixChart
from tumorboard.reports.cross_validation import cross_validation_report
from tumorboard.reports.document import Figures, Section
from tumorboard.reports.run_report import run_report
from tumorboard.reports.run_results import AuditFinding

pytestmark = needs_browser


@pytest.fixture
def opened(browser):  # noqa: F811
    with watched(browser, "file:") as page:
        yield page


def unfolded(page, path):
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    return page


def test_axe_sees_what_is_wrong(opened) -> None:
    opened.set_content('<p style="color:#aaa">pale</p><img src="data:,">')
    assert {fault.split(":")[0] for fault in axe(opened)} >= {"image-alt", "color-contrast", "html-has-lang"}


def test_the_report_of_a_run(opened, context) -> None:  # noqa: F811
    write_results(context)
    assert faults_everywhere(unfolded(opened, context.run.report)) == []


def test_the_first_screen_holds_the_answer_its_plot_samples_and_limitations(opened, context) -> None:  # noqa: F811
    write_results(context)
    opened.set_viewport_size({"width": 1280, "height": 900})
    opened.goto(context.run.report.as_uri())
    for part in ("#overview > ul", "#overview .IntervalChart", ".samples", "#limitations"):
        box = opened.locator(part).first.bounding_box()
        assert box["y"] + box["height"] <= 900, part


def test_a_case_opens_to_large_pictures_without_a_script(opened, context) -> None:  # noqa: F811
    write_results(context)
    for width in (1280, 390):
        opened.set_viewport_size({"width": width, "height": 900})
        opened.goto(context.run.report.as_uri())
        case = opened.locator(".cards summary").first
        assert case.locator("img").first.bounding_box()["width"] < 224
        case.focus()
        opened.keyboard.press("Enter")
        assert all(image.bounding_box()["width"] >= 224 for image in case.locator("img").all())


def test_on_paper_nothing_is_folded(opened, tmp_path) -> None:
    file = tmp_path / "report.html"
    file.write_text(html.render(run_report(run_results())), "utf-8")
    opened.goto(file.as_uri())
    table = opened.get_by_text("Metrics over all classes")
    assert not table.is_visible()
    opened.emulate_media(media="print")
    assert table.is_visible()


def test_the_report_of_drawn_images_with_findings(opened, tmp_path) -> None:
    file = tmp_path / "report.html"
    findings = (
        AuditFinding("error", "TB401", "near duplicates across", "too good"),
        AuditFinding("note", "TB304", "few", "wide"),
    )
    file.write_text(
        html.render(run_report(run_results(synthetic=True, findings=findings, calibrated=True))), "utf-8"
    )
    assert faults_everywhere(unfolded(opened, file)) == []


def test_the_report_of_names_of_every_script_and_length_and_of_many_classes(opened, tmp_path) -> None:
    arabic, chinese = "\u0646\u0633\u064a\u062c " * 20, "\u6b63\u5e38" * 60
    class_names = ("adenocarcinoma_of_the_left_lower_lobe_" * 4, arabic, chinese)
    report = run_report(run_results(class_names, calibrated=True))
    many = [f"{class_names[0]}{n}" for n in range(20)]
    matrix = MatrixChart("m", "many", many, [[int(i == j) for j in range(20)] for i in range(20)])
    file = tmp_path / "report.html"
    section = Section("Many classes", [Figures([matrix])], "many")
    file.write_text(html.render(replace(report, sections=[*report.sections, section])), "utf-8")
    assert faults_everywhere(unfolded(opened, file)) == []
    assert opened.locator("#many .wide").evaluate("one => one.scrollWidth > one.clientWidth")  # at 320 pixels


def test_the_report_of_a_cross_validation(opened, tmp_path) -> None:
    file = tmp_path / "report.html"
    file.write_text(html.render(cross_validation_report(cross_validation(("normal",)))), "utf-8")
    assert faults_everywhere(unfolded(opened, file)) == []


@pytest.fixture
def served(tmp_path, context):  # noqa: F811
    """The address of the fake predictor's page, with a report beside it."""
    write_results(context)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "report.html").write_bytes(context.run.report.read_bytes())
    with serving(tmp_path / "served") as (url, _process):
        yield url


def chosen(page, name, content):
    page.get_by_label("choose files").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": content}
    )


def test_the_served_page_in_all_its_states(browser, served, slice_png) -> None:  # noqa: F811
    with watched(browser, served) as page:
        page.goto(served)
        page.get_by_text("4 models; classes").wait_for()
        assert faults_everywhere(page) == []
        chosen(page, "slice.png", slice_png)
        page.get_by_role("button", name="Show heat map").click()
        page.get_by_label("Opacity of the heat map").wait_for()
        assert faults_everywhere(page) == []
        chosen(page, "bad.png", slice_png[:200])
        page.locator(".problem:visible").wait_for()
        chosen(page, "second.png", slice_png)
        page.get_by_label("All these images are of one patient").check()
        page.locator(".patient summary").click()
        assert faults_everywhere(page) == []


@pytest.mark.parametrize("boxed", [True, False])
def test_the_served_report(browser, served, boxed) -> None:  # noqa: F811
    """Under its policy no script runs, not even axe's; without it axe looks, with it nothing is refused."""
    with watched(browser, served, bypass_csp=not boxed) as page:
        page.goto(f"{served}report")
        page.get_by_role("heading", name="Recommended").wait_for()
        assert boxed or faults_everywhere(page) == []
