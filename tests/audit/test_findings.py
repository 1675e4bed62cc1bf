from tests.audit.facts import Row, dataset
from tumorboard.audit.findings import NotApplicable, check, separate_files


def test_each_file_is_a_group_of_its_own() -> None:
    assert separate_files(["a", "b"]) == (("a",), ("b",))
    assert separate_files([]) == ()


def test_a_check_is_documented_by_its_function() -> None:
    @check("TB999", "nothing", "note")
    def nothing(facts: object) -> NotApplicable:
        """Report nothing.

        Why it matters: It does not.
        """
        return NotApplicable("never")

    assert nothing.documentation == "Report nothing.\n\nWhy it matters: It does not."
    assert nothing.page == "docs/checks.md#tb999"
    assert nothing.run(dataset([Row()])) == NotApplicable("never")
