"""The notebooks of `examples/` run from the first cell to the last, and are stored without results."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.small_runs import add_tiny_backbone
from tumorboard.models.backbones import BACKBONES

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
BACKBONE = 'backbone = "efficientnet-lite0"'


@pytest.fixture
def tiny_backbone() -> Iterator[str]:
    """The line of a recipe that takes a network of two layers: the large one would need a minute."""
    add_tiny_backbone()
    yield 'backbone = "tiny"\nweights = "none"'
    BACKBONES.pop("tiny")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_is_stored_without_results(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_backbone: str
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    names: dict[str, object] = {}
    for number, cell in enumerate(cells):
        source = "".join(cell["source"]).replace(BACKBONE, tiny_backbone)
        exec(compile(source, f"{notebook.name}, code cell {number}", "exec"), names)  # noqa: S102
    assert list(tmp_path.glob("*/**/report.html"))


def test_the_notebook_of_a_study_has_the_line_that_is_replaced() -> None:
    [study] = [notebook for notebook in NOTEBOOKS if notebook.stem == "study_from_python"]
    assert study.read_text("utf-8").count(json.dumps(BACKBONE)[1:-1]) == 1
