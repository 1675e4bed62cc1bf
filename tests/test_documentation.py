"""What the documentation names exists: pages, commands with their flags, recipe keys, functions."""

import argparse
import re
from pathlib import Path

import pytest

import tumorboard
from tumorboard.cli import main
from tumorboard.config import parse

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        if not link.startswith("http"):
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_and_their_flags_exist(page: Path) -> None:
    [commands] = [
        action.choices for action in main._parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    for name, arguments in re.findall(
        r"\btumorboard ([a-z]+)((?: +[^\s`#]+)*)", page.read_text("utf-8").replace("\\\n", " ")
    ):
        if name in commands:
            known = {flag for action in commands[name]._actions for flag in action.option_strings}
            assert set(re.findall(r"(?<=\s)--[a-z-]+", arguments)) <= known, f"{name}{arguments}"


def test_the_recipe_of_the_documentation_is_one() -> None:
    [recipe] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/recipes.md").read_text("utf-8"), re.DOTALL)
    assert parse(recipe, "docs/recipes.md").names == ("pretrained", "custom", "second", "ensemble", "chained")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_names_of_the_package_are_exported(page: Path) -> None:
    assert set(re.findall(r"\btb\.(\w+)", page.read_text("utf-8"))) <= set(tumorboard.__all__)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_modules_exist(page: Path) -> None:
    for module in re.findall(r"`([a-z_]+/[\w/]+\.py)`", page.read_text("utf-8")):
        assert (ROOT / module).exists() or (ROOT / "src/tumorboard" / module).exists(), module
