"""tools/check_gpu.py: what it runs, measures and prints, with stand-ins for Tumorboard and nvidia-smi."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "check_gpu.py"
STAND_IN = """
import json, os, sys, time
from pathlib import Path

out = Path(sys.argv[sys.argv.index("--out") + 1])
print(os.environ["KERAS_BACKEND"], *sys.argv[1:])
if "broken" in sys.argv:
    sys.exit(3)
time.sleep(1.5)
(out / "state").mkdir(parents=True)
(out / "state" / "phases.json").write_text(json.dumps({"pretrained": 12.34, "custom": 5.0}))
metrics = {"models": {"pretrained": {"splits": {"test": {"accuracy": {"value": 0.75}}}}}}
(out / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_gpu", TOOL)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "check_gpu", module)
    spec.loader.exec_module(module)
    package = tmp_path / "source" / "tumorboard"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STAND_IN)
    monkeypatch.setattr(module, "SOURCE", package.parent)
    monkeypatch.setattr(module, "DEVICES", {"json": "print('a card')", "nothing_of_this_name": ""})
    return module


def run(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, *flags: object) -> int:
    monkeypatch.setattr(sys, "argv", ["check_gpu.py", *map(str, flags)])
    return tool.main()


def test_phases_accuracy_and_utilisation_are_printed_and_kept(tool, tmp_path, monkeypatch, capsys) -> None:
    card = tmp_path / "nvidia-smi"
    card.write_text("#!/bin/sh\nprintf '40, 1000\\n20, 500\\n'\n")
    card.chmod(0o755)
    monkeypatch.setattr(tool, "QUERY", (str(card), *tool.QUERY[1:]))
    out = tmp_path / "out"
    flags = ("--backends", "json", "nothing_of_this_name", "--out", out, "--data", "scans")
    assert run(tool, monkeypatch, *flags) == 0
    text = capsys.readouterr().out
    assert "json, demo, on a card: " in text
    assert "json, data, on a card: " in text
    assert "seconds: pretrained 12.3, custom 5.0" in text
    assert "utilisation mean 40%, most 40%; memory at most 1.5 GB" in text
    assert "test accuracy: pretrained 0.750" in text
    assert "nothing_of_this_name: not installed, left out" in text
    first, second = json.loads((out / "check.json").read_text())
    assert (first["title"], second["title"]) == ("demo", "data")
    assert first["phases"] == {"pretrained": 12.34, "custom": 5.0}
    assert first["accuracy"] == {"pretrained": 0.75}
    expected = f"json train scans --recipe default --out {out / 'data-json'}"
    assert (out / "data-json.log").read_text().strip() == expected


def test_without_a_gpu_this_is_said(tool, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(tool, "QUERY", (str(tmp_path / "nothing"),))
    assert run(tool, monkeypatch, "--backends", "json", "--out", tmp_path / "out") == 0
    assert "utilisation not measured: no nvidia-smi, or no GPU that reports it" in capsys.readouterr().out


def test_a_gpu_that_reports_nothing_stops_nothing(tool, tmp_path, monkeypatch, capsys) -> None:
    card = tmp_path / "nvidia-smi"
    card.write_text("#!/bin/sh\nprintf '[N/A], 1000\\n'\n")
    card.chmod(0o755)
    monkeypatch.setattr(tool, "QUERY", (str(card), *tool.QUERY[1:]))
    assert run(tool, monkeypatch, "--backends", "json", "--out", tmp_path / "out") == 0
    assert "no GPU that reports it" in capsys.readouterr().out


def test_a_repeated_command_does_not_overwrite_what_was_measured(tool, tmp_path, monkeypatch) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit):
        run(tool, monkeypatch, "--backends", "json", "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "check.json").exists()


def test_a_run_that_fails_is_named_and_so_is_having_run_nothing(tool, tmp_path, monkeypatch, capsys) -> None:
    flags = ("--backends", "json", "--out", tmp_path / "out", "--data", "broken")
    assert run(tool, monkeypatch, *flags) == 1
    assert "FAILED with exit code 3, see data-json.log" in capsys.readouterr().out
    assert run(tool, monkeypatch, "--backends", "nothing_of_this_name", "--out", tmp_path / "none") == 1
