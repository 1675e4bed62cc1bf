from dataclasses import replace

from tests.audit.facts import Row, dataset
from tumorboard.audit.runner import CHECKS, run
from tumorboard.reports import terminal
from tumorboard.reports.audit import audit_report, audit_summary, summary_line

REPORT = run(
    dataset(
        [
            *[Row("train", digest="one")] * 5,
            Row("test", "b\x1b[31m", digest="one"),
            Row("test", "b\x1b[31m", suffix=".jpg"),
            Row("train", "b\x1b[31m"),
        ]
    ),
    mute=["TB304"],
)
TEXT = terminal.render(audit_report(REPORT))


def test_errors_stand_above_warnings_and_warnings_above_notes() -> None:
    assert TEXT.index("\n  ERROR") < TEXT.index("\n  WARNING") < TEXT.index("\n  NOTE")


def test_a_finding_names_its_page_and_some_files_and_counts_the_rest() -> None:
    block = next(block for block in TEXT.split("\n  ERROR") if block.startswith(" TB401"))
    assert "[docs/checks.md#tb401]" in block
    assert "- 0000 = 0001 = 0002 = 3 more" in block


def test_every_check_is_named_with_its_outcome() -> None:
    lines = [" ".join(line.split()) for line in TEXT.splitlines()]
    assert all(code in TEXT for code in CHECKS)
    assert "TB407 groups across splits not applicable: no groups are given" in lines
    assert any(line.startswith("TB304 ") and line.endswith(" muted") for line in lines)
    assert any(line.endswith(" passed") for line in lines)


def test_images_are_counted_by_class_and_split() -> None:
    lines = [line.split() for line in TEXT.splitlines()]
    head = lines.index(["class", "train", "test"])
    assert lines[head + 1] == ["a", "5", "0"]


def test_names_of_classes_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in TEXT


def test_the_title_sums_up() -> None:
    counts = [
        sum(f.severity == severity for _, f in REPORT.findings) for severity in ("error", "warning", "note")
    ]
    line = summary_line(REPORT)
    assert f"Audit: {line} Findings" in " ".join(TEXT.split())
    assert line.startswith(f"{counts[0]} error")
    assert f"{counts[2]} note" in line
    assert line.endswith("1 muted")


def test_the_summary_fits_a_screen() -> None:
    code, finding = REPORT.findings[0]
    findings = [(code, replace(finding, title="long title " * 30))] * 9
    lines = terminal.render(audit_summary(replace(REPORT, findings=tuple(findings)))).splitlines()
    assert len(lines) <= 18
    assert max(map(len, lines)) <= 80
    assert "  and 3 errors" in lines
    assert lines[-1] == "Readable images: 6 train, 2 test; 2 classes"
