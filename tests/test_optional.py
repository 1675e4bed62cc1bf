import shlex
import sys
from pathlib import Path

import pytest

from tumorboard import optional
from tumorboard.errors import UsageError


def test_what_is_installed_raises_nothing() -> None:
    optional.require("this", "numpy", "importlib")


def test_the_message_names_the_packages_of_the_extra_so_that_the_command_can_be_typed() -> None:
    with pytest.raises(
        UsageError, match=r'^--ray needs .*: \S+ -m pip install "\S+>=\S+" "\S+>=\S+"$'
    ) as raised:
        optional.require("--ray", "numpy", "no_such_module", extra="cluster")
    assert all(f'"{package}>=' in str(raised.value) for package in ("ray", "pyarrow"))


def test_without_an_extra_packages_are_called_as_their_modules() -> None:
    with pytest.raises(UsageError, match=r'pip install "fsspec" "no_such_module"$'):
        optional.require("gs://", "fsspec", "no_such_module", extra="gs")


def test_a_source_tree_that_is_not_installed_names_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise optional.PackageNotFoundError(name)

    monkeypatch.setattr(optional, "requires", missing)
    assert (
        optional.install("optuna", extra="tune") == f'{shlex.quote(sys.executable)} -m pip install "optuna"'
    )


def test_the_command_installs_where_pip_is_missing_as_in_a_tool_of_uv_or_pipx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/my tools/bin/python")
    assert optional.install("no_such_module") == (
        "uv pip install --python '/my tools/bin/python' \"no_such_module\""
    )
    (tmp_path / "pipx_metadata.json").touch()
    assert optional.install("no_such_module") == 'pipx inject tumorboard "no_such_module"'
