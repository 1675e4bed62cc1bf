"""What fuzzing has found is found no more; `make fuzz` looks for more."""

from pathlib import Path

import pytest

from tests.fuzz import seeds, targets
from tumorboard import config

FINDS = sorted(path for path in Path(__file__).with_name("finds").rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FINDS, ids=[f"{path.parent.name}-{path.name}" for path in FINDS])
def test_what_was_found_is_found_no_more(path: Path) -> None:
    targets.TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", sorted(set(targets.TARGETS) - {"keras"}))  # the models are in other tests
def test_sound_files_are_no_finds(name: str) -> None:
    contents = list(getattr(seeds, name)())
    assert len(contents) >= 4
    for content in contents:
        targets.TARGETS[name](content)


def test_a_fault_would_be_a_find(monkeypatch: pytest.MonkeyPatch) -> None:
    content = next(seeds.recipe())
    dump = config.dump
    monkeypatch.setattr(config, "dump", lambda recipe: dump(recipe.model_copy(update={"seed": 1234})))
    with pytest.raises(targets.Find, match="another recipe"):
        targets.recipe(content)
    monkeypatch.setattr(config.tomllib, "loads", lambda text: [][1])
    with pytest.raises(IndexError):
        targets.recipe(content)
