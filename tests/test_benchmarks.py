"""Benchmarks start, run on a few small images and print what they promise; no test judges a time."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.small_models import PRETRAINED, RESIDUAL, member
from tests.small_runs import RECIPE, add_tiny_backbone, draw
from tumorboard.config import parse
from tumorboard.models.backbones import BACKBONES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, f"benchmark_{name}", module)
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop("measuring", None)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    add_tiny_backbone()
    monkeypatch.setitem(BACKBONES, "tiny", BACKBONES.pop("tiny"))
    (tmp_path / "recipe.toml").write_text(
        RECIPE.replace('weights = "none"', 'weights = "none"\ncut = "block1"')
    )
    return draw(tmp_path / "data")


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *flags: object) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, flags)])
    module.main()


def test_cached_trunk_and_whole_backbone_are_timed_to_one_mark(benchmark, data, monkeypatch, capsys) -> None:
    module = benchmark("cached_trunk")
    recipe = data.parent / "recipe.toml"
    run(module, monkeypatch, data, "--recipe", recipe, "--epochs", 2)
    first, second = capsys.readouterr().out.splitlines()
    assert "(n = 6)" in first
    assert re.fullmatch(r"to \d\.\d{3}: \d+ s against \d+ s: \d+\.\d times faster", second)


def test_a_mark_is_reached_in_the_first_epoch_that_has_it_or_not_at_all(benchmark) -> None:
    module = benchmark("cached_trunk")
    course = [(10.0, 0.5), (20.0, 0.8), (30.0, 0.7), (40.0, 0.9)]
    assert [module._reached(course, mark) for mark in (0.5, 0.6, 0.8, 0.9, 0.91)] == [10, 20, 20, 40, None]
    assert module._verdict(0.8, 20.0, 70.0) == "to 0.800: 20 s against 70 s: 3.5 times faster"
    assert module._verdict(0.8, 20.0, None) == "to 0.800: not reached by whole backbone; no ratio"


def test_the_whole_backbone_is_trained_but_for_its_norms(benchmark) -> None:
    module = benchmark("cached_trunk")
    model, _ = member("pretrained", PRETRAINED)
    trunk = model.get_layer("pretrained_backbone")
    assert not trunk.trainable_weights
    module._unfreeze(model)
    assert [one.path.split("/")[-2:] for one in trunk.trainable_weights] == [
        ["block1_conv", "kernel"],
        ["block1_conv", "bias"],
        ["block2_conv", "kernel"],
        ["block2_conv", "bias"],
    ]


def test_operations_are_counted_as_by_hand(benchmark) -> None:
    module = benchmark("arithmetic")
    model, _ = member("pretrained", PRETRAINED)
    convolutions = 7 * 7 * 5 * 5 * 3 * 4 + 3 * 3 * 3 * 3 * 4 * 6
    assert module.flop(model) == 2 * (convolutions + 6 * 8 + 8 * 3)
    residual, _ = member("custom", RESIDUAL)
    assert module.flop(residual) > 2 * 8 * 8 * 9 * 24  # its first convolution alone


def test_every_phase_is_put_against_the_matrix_product(benchmark, data, monkeypatch) -> None:
    module = benchmark("arithmetic")
    recipe = parse((data.parent / "recipe.toml").read_text(), "test")
    images = np.zeros((6, 32, 32, 3), np.uint8)
    phases = module.measured(recipe, (images, np.arange(6) % 3))
    names = [name for name, _, _ in phases]
    assert names == [
        "custom, training",
        "pretrained, training",
        "chained, training",
        *(f"{name}, prediction" for name in ("custom", "pretrained", "ensemble", "chained")),
    ]
    assert all(gflop > 0 and speed > 0 for _, gflop, speed in phases)


def test_a_straight_line_is_found_and_followed(benchmark) -> None:
    module = benchmark("growth")
    text = module.fitted("seconds", [(500, 11.0), (1000, 12.0), (10_000, 30.0)], 100_000)
    assert text.startswith("seconds: 10.0 + 2.00 per thousand images (off by 0% of the largest at most;")
    assert text.endswith("100,000 images: 210")


@pytest.mark.slow
def test_growth_runs_whole_trainings(benchmark, monkeypatch, capsys) -> None:
    run(benchmark("growth"), monkeypatch, "--sizes", 64, 96, "--size", 32)
    out = capsys.readouterr().out
    assert re.search(r"^64 images: \d+ s, own memory [1-9]\d+ MB, mapped [1-9]\d+ MB$", out, re.MULTILINE)
    assert "  pretrained: " in out
    assert "own memory, MB: " in out


def test_a_page_keeps_what_other_benchmarks_wrote(benchmark) -> None:
    module = benchmark("page")
    page = module.placed(module.placed("# Results\n", "training", "one"), "growth", r"a \1 b")
    again = module.placed(page, "training", "two")
    assert again.startswith("# Results\n\n<!-- benchmark training -->\ntwo\n<!-- /benchmark training -->\n")
    assert r"a \1 b" in again
    assert "one" not in again


def test_the_study_s_loop_is_a_peer_of_the_same_images_and_weights(
    benchmark, data, tmp_path, monkeypatch, capsys
) -> None:
    module = benchmark("peers")

    def run_worker(command: list, log: Path, **_: object) -> tuple[float, float, float]:
        kind, folder, out, epochs, classes = map(str, command[3:])
        module.worker(kind, Path(folder), Path(out), int(epochs), int(classes))
        return 10.0, 20.0, 1.5

    monkeypatch.setattr(module, "install", lambda name, cache: Path(sys.executable))
    monkeypatch.setattr(module, "run_logged", run_worker)
    recipe, cache = data.parent / "recipe.toml", tmp_path / "cache"
    flags = (data, "--only", "keras", "--epochs", 1, "--recipe", recipe, "--cache", cache)
    run(module, monkeypatch, *flags)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| keras")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "keras, 1 epochs"
    assert re.fullmatch(r"\d\.\d{3} \(\d\.\d{3}-\d\.\d{3}, n = 6\)", cells[1])
    assert cells[3:6] == ["20", "10", "1.5"]
    assert "keras 3." in cells[6]
    files = module.files_of(cache / "images", "test")
    assert [int(file.stem) for file in files] == list(range(6))
    assert {file.parent.name for file in files} == {"00", "01", "02"}


def test_a_peer_that_cannot_be_installed_has_its_reason_in_the_table(
    benchmark, tmp_path, monkeypatch, capsys
) -> None:
    module = benchmark("peers")
    monkeypatch.setattr(module, "prepare", lambda *_: ({}, ()))
    monkeypatch.setitem(module.PACKAGES, "aucmedi", [str(tmp_path / "nothing.whl")])
    run(module, monkeypatch, "data", "--only", "aucmedi", "--cache", tmp_path)
    row = capsys.readouterr().out.splitlines()[2]
    assert row.startswith("| aucmedi | not measured: ")
    assert "nothing.whl" in row


def test_ratios_compare_processor_time_with_the_whole_study_of_the_same_run(benchmark) -> None:
    rows = {
        "tumorboard, all four models": {"seconds": 60.0, "processor": 100.0, "memory": 2.0},
        "custom": {"valid": (9, 10), "test": (8, 10)},
        "peer, 3 epochs": {
            "seconds": 200.0,
            "processor": 250.0,
            "memory": 1.0,
            "valid": (5, 10),
            "test": (4, 10),
            "against": "custom",
        },
    }
    lines = benchmark("peers").table(rows)
    assert "| custom | 0.900 (0.596-0.982, n = 10) | 0.800 (0.490-0.943, n = 10) |  |  |  |  |" in lines
    assert lines[-1].strip() == "peer, 3 epochs: 2.50 times the processor time of our whole study"
