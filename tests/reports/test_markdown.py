import pytest

from tumorboard.reports import markdown
from tumorboard.reports.charts import LineChart
from tumorboard.reports.document import (
    BulletList,
    CaptionedImage,
    Card,
    Cards,
    Code,
    Document,
    Figures,
    Paragraph,
    Section,
    Table,
)
from tumorboard.reports.markdown import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("large.cell_carcinoma", "large.cell_carcinoma"),
        ("a|b", r"a\|b"),
        ("<script>", r"\<script\>"),
        ("two\nlines\r\n# heading", "two lines # heading"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("*b* `c` \\", r"\*b\* \`c\` \\"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("left\u202eright", "left right"),
    ],
)
def test_names_are_shown_as_they_are(text, shown):
    assert escaped(text) == shown


def rendered(*blocks):
    return markdown.render(Document("T", [], [Section("S", blocks)])).split("## S\n\n")[1]


def test_a_table_has_a_header_a_rule_and_its_rows():
    table = Table(["model", "loss"], [["a|b", 1]], "caption")
    assert rendered(table) == "caption:\n\n| model | loss |\n| --- | ---: |\n| a\\|b | 1 |\n"


def test_code_is_indented_line_by_line():
    assert rendered(Code("a\nb")) == "    a\n    b\n"


def test_text_lists_and_examples_are_escaped():
    assert rendered(Paragraph("<b>", "*lead*")) == "**\\*lead\\*** \\<b\\>\n"
    assert rendered(BulletList(["a", Paragraph("c", "b:")])) == "- a\n- **b:** c\n"
    assert rendered(
        Cards([Card("True class: <a>", {"": CaptionedImage("image", b"")}, {"m": "b (0.98)"}, ["m"], "id|1")])
    ) == ("- True class: \\<a\\>; m: b (0.98); id\\|1\n")


def test_a_chart_is_a_link_to_its_file():
    chart = LineChart("roc-a b/c", "a [b]", "x", "y", [])
    assert rendered(Figures([chart])) == "![a \\[b\\]](figures/roc-a%20b%2Fc.svg)\n"


def test_sections_in_sections_are_a_level_deeper():
    assert rendered(Section("Inner", [Section("Innermost", [])])) == "### Inner\n\n#### Innermost\n"
