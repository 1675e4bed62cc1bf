"""R2: the canary of leaking splits, with two seeds."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[1] / "experiments" / "random_labels.py"


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("random_labels", FILE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "random_labels", module)
    spec.loader.exec_module(module)
    return module


def test_random_labels_are_learned_from_slices_and_not_from_patients(
    experiment: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = experiment.main(["--seeds", "2"])
    assert len(scores) == 2
    for grouped, ungrouped in scores:
        assert grouped.shared == 0
        assert grouped.is_chance
        assert ungrouped.shared == ungrouped.patients
        assert ungrouped.accuracy > 0.95
        assert not ungrouped.is_chance
    assert "within chance: grouped 2 of 2, ungrouped 0 of 2" in capsys.readouterr().out


def test_chance_is_a_matter_of_patients(experiment: ModuleType) -> None:
    # Of 18 tosses of a coin 5 to 13 heads make up 96.9 %, 6 to 12 make up 90.4 %.
    assert experiment.Score(0.5, 18, 0).chance == pytest.approx((5 / 18, 13 / 18))
    assert not experiment.Score(14 / 18, 18, 0).is_chance
