"""The list of `make mutants` fits the source; the mutants themselves take minutes."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOL = runpy.run_path(str(ROOT / "tools" / "mutants.py"), run_name="mutants")
MUTANTS = TOOL["read"]()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.line[:40]}")
def test_the_line_is_there_once_and_its_tests_are_there(mutant) -> None:
    count = (ROOT / TOOL["SOURCE"] / mutant.file).read_text("utf-8").count(mutant.line)
    assert count == 1, f"{mutant.line!r} is there {count} times: change tools/mutants.toml too"
    assert mutant.line != mutant.replacement
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text("utf-8")


def test_there_are_mutants_of_every_package_that_guards() -> None:
    assert len(set(MUTANTS)) == len(MUTANTS) >= 60
