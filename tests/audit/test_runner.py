import json
import re
import runpy
from pathlib import Path

import pytest

from tests.audit.facts import Row, dataset, scene
from tumorboard.audit.findings import PARTS, Check
from tumorboard.audit.runner import CHECKS, FAMILIES, SIDE_BY_SIDE, require_codes, run
from tumorboard.errors import UsageError

ROOT = Path(__file__).parents[2]
FACTS = dataset([Row("train", digest="one"), Row("test", digest="one"), Row("test", "b", suffix=".jpg")])


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_a_check_documents_what_it_finds_why_it_matters_how_it_is_measured_and_what_to_do(
    check: Check,
) -> None:
    finds, *parts = re.split(r"\n\n(?=(?:Why|How|What) [a-z ]+: )", check.documentation)
    assert finds.startswith("Report ")
    assert tuple(part.partition(":")[0] for part in parts) == PARTS


def test_the_page_in_docs_is_up_to_date() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "check_docs.py"))
    assert tool["PAGE"].read_text("utf-8") == tool["page"](), "run: python tools/check_docs.py"


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_every_check_has_its_heading_in_docs(check: Check) -> None:
    page, _, anchor = check.page.partition("#")
    assert f"\n### {anchor.upper()}\n" in (ROOT / page).read_text("utf-8")


def test_codes_are_unique_and_in_order() -> None:
    codes = [check.code for family in FAMILIES for check in family.CHECKS]
    assert len(codes) == len(set(codes))
    assert list(CHECKS) == sorted(codes)
    assert [check.code for check in CHECKS.values()] == list(CHECKS)
    assert set(codes) >= SIDE_BY_SIDE


def test_every_check_is_accounted_for_once() -> None:
    report = run(FACTS, mute=["TB304"])
    found = {code for code, _ in report.findings}
    parts = [found, set(report.passed), set(report.not_applicable), set(report.muted)]
    assert sum(map(len, parts)) == len(CHECKS)
    assert set().union(*parts) == set(CHECKS)


def test_the_most_severe_come_first() -> None:
    order = ["error", "warning", "note"]
    found = [order.index(finding.severity) for _, finding in run(FACTS).findings]
    assert found == sorted(found)
    assert run(FACTS).findings[0][0] == "TB401"


def test_notes_are_not_severe() -> None:
    calm = dataset([Row("train", thumbnail=scene(1)), Row("train", "b", thumbnail=scene(2))])
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
    assert content["findings"][0]["page"] == "docs/checks.md#tb401"
    assert content["counts"]["test"] == {"a": 1, "b": 1}
