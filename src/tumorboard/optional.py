"""Packages that Tumorboard uses but does not install: each belongs to an extra of the project."""

import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

from tumorboard.errors import UsageError


def require(feature: str, *modules: str, extra: str = "") -> None:
    """Check that all modules can be imported, without importing them.

    Args:
        feature: What needs them, as the user calls it.
        *modules: Their import names.
        extra: The extra of the project that installs them; without one, packages are called as modules.

    Raises:
        UsageError: One is not installed; the message holds the command that installs them.
    """
    if any(find_spec(module) is None for module in modules):
        raise UsageError(f"{feature} needs packages that are not installed: {install(*modules, extra=extra)}")


def install(*modules: str, extra: str = "") -> str:
    """Return the command that installs the packages of an extra, or else those of the modules' names.

    It installs into the environment of this process, also if that is not activated or has no pip, as that
    of a tool of uv or pipx. It needs no copy of the source code.
    """
    try:
        lines = [line.partition(";") for line in requires("tumorboard") or ()]
    except PackageNotFoundError:  # run from a source tree that is not installed
        lines = []
    packages = [
        requirement.strip()
        for requirement, _, marker in lines
        if f"extra == '{extra}'" in marker.replace('"', "'")
    ]
    python = shlex.quote(sys.executable)
    if find_spec("pip"):
        installer = f"{python} -m pip install"
    elif Path(sys.prefix, "pipx_metadata.json").is_file():
        installer = "pipx inject tumorboard"
    else:
        installer = f"uv pip install --python {python}"
    return " ".join([installer, *(f'"{package}"' for package in packages or modules)])
