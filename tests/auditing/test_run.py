import json
import re
from pathlib import Path

import pytest

from tests.auditing.studies import Row, scene, study
from tumorboard.auditing import checks
from tumorboard.auditing.run import CHECKS, SIDE_BY_SIDE, page, require_codes, run
from tumorboard.errors import UsageError

ROOT = Path(__file__).parents[2]
FACTS = study([Row("train", digest="one"), Row("test", digest="one"), Row("test", "b", suffix=".jpg")])


def test_every_code_has_its_page_and_every_page_its_code() -> None:
    pages = {f"docs/checks/{path.name}" for path in (ROOT / "docs" / "checks").glob("TB*.md")}
    assert pages == {page(check.code) for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_a_page_says_what_why_how_and_what_to_do(check: object) -> None:
    text = (ROOT / page(check.code)).read_text("utf-8")  # type: ignore[attr-defined]
    assert text.startswith(f"# {check.code}: ")  # type: ignore[attr-defined]
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads == ["What it finds", "Why it matters", "How it is measured", "What to do"]


def test_every_check_file_is_run_and_has_its_test() -> None:
    files = {path.stem for path in Path(checks.__file__).parent.glob("*.py")} - {"__init__"}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/auditing/checks").glob("test_*.py")}
    assert {check.look.__module__.rpartition(".")[2] for check in CHECKS} == files == tests


def test_codes_are_unique_and_in_order() -> None:
    codes = [check.code for check in CHECKS]
    assert codes == sorted(set(codes))
    assert set(codes) >= SIDE_BY_SIDE


def test_every_check_is_accounted_for_once() -> None:
    report = run(FACTS, mute=["TB304"])
    found = {code for code, _ in report.findings}
    parts = [found, set(report.passed), set(report.not_applicable), set(report.muted)]
    assert sum(map(len, parts)) == len(CHECKS)
    assert set().union(*parts) == {check.code for check in CHECKS}


def test_the_most_severe_come_first() -> None:
    order = ["error", "warning", "note"]
    found = [order.index(finding.severity) for _, finding in run(FACTS).findings]
    assert found == sorted(found)
    assert run(FACTS).findings[0][0] == "TB401"


def test_notes_are_not_severe() -> None:
    calm = study([Row("train", thumbnail=scene(1)), Row("train", "b", thumbnail=scene(2))])
    report = run(calm)
    assert report.findings
    assert report.severe == 0
    assert run(FACTS).severe > 0


def test_what_is_muted_is_not_found() -> None:
    report = run(FACTS, mute=["TB401"])
    assert "TB401" not in {code for code, _ in report.findings}
    assert report.muted == ("TB401",)


def test_leaked_images_are_known_whatever_is_muted() -> None:
    assert run(FACTS).leaked == run(FACTS, mute=["TB401", "TB404"]).leaked == ("0001",)


def test_an_unknown_code_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"TB999.*TB101") as error:
        run(FACTS, mute=["TB999"])
    assert len(str(error.value)) <= 300
    require_codes(["TB101"])


def test_the_report_is_plain_json_with_a_version() -> None:
    content = json.loads(json.dumps(run(FACTS).to_json(), allow_nan=False))
    assert content["format_version"] == 1
    assert content["findings"][0]["code"] == "TB401"
    assert content["findings"][0]["page"] == "docs/checks/TB401.md"
    assert content["counts"]["test"] == {"a": 1, "b": 1}
