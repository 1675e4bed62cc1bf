"""Packages that Tumorboard uses but does not install: each belongs to an extra of the project."""

from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

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
    """Return the command that installs the packages of an extra; it needs no copy of the source code."""
    try:
        lines = [line.partition(";") for line in requires("tumorboard") or ()]
    except PackageNotFoundError:  # run from a source tree that is not installed
        lines = []
    packages = [
        requirement.strip()
        for requirement, _, marker in lines
        if f"extra == '{extra}'" in marker.replace('"', "'")
    ]
    return "pip install " + " ".join(f'"{package}"' for package in packages or modules)
