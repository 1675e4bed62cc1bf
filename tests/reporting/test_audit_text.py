from tests.audit.facts import Row, dataset
from tumorboard.audit.runner import CHECKS, run
from tumorboard.reporting.audit import audit_text, summary_line

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


def test_errors_stand_above_warnings_and_warnings_above_notes() -> None:
    text = audit_text(REPORT)
    assert text.startswith("ERROR ")
    assert text.index("ERROR") < text.index("\nWARNING") < text.index("\nNOTE")


def test_a_finding_names_its_page_and_some_files_and_counts_the_rest() -> None:
    block = next(block for block in audit_text(REPORT).split("\n\n") if "TB401" in block)
    assert "[docs/checks.md#tb401]" in block
    assert "- 0000 = 0001 = 0002 = 3 more" in block


def test_every_check_is_named() -> None:
    text = audit_text(REPORT)
    assert all(code in text for code in CHECKS)
    assert "not applicable  TB407  groups across splits: no groups are given" in text
    assert "muted           TB304" in text


def test_images_are_counted_by_class_and_split() -> None:
    lines = audit_text(REPORT).splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("images"))
    assert lines[head].split() == ["images", "train", "test"]
    assert lines[head + 1].split() == ["a", "5", "0"]


def test_names_of_classes_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in audit_text(REPORT)


def test_the_last_line_sums_up() -> None:
    counts = [
        sum(f.severity == severity for _, f in REPORT.findings) for severity in ("error", "warning", "note")
    ]
    line = summary_line(REPORT)
    assert audit_text(REPORT).endswith(f"\n{line}")
    assert line.startswith(f"{counts[0]} error")
    assert f"{counts[2]} note" in line
    assert line.endswith("1 muted")
