import pytest

from tumorboard.evaluation.intervals import Estimate
from tumorboard.reporting.markdown import code_block, decimals, escaped, of_n, table, with_interval


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


def test_a_table_has_a_header_a_rule_and_its_rows():
    assert table(["model", "loss"], [["a", "1"]]) == "| model | loss |\n| --- | ---: |\n| a | 1 |"


def test_code_is_indented_line_by_line():
    assert code_block("a\nb") == "    a\n    b"


def test_undefined_numbers_are_said_to_be_so():
    nothing = Estimate(None, 0, 0.0, 1.0)
    assert decimals(None) == with_interval(nothing) == "n/a"
    assert of_n(nothing) == "n/a, n = 0"
    assert of_n(Estimate(0.5, 4, 0.15, 0.85)) == "0.500 (0.150 to 0.850), n = 4"
