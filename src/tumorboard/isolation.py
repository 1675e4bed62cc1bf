"""Keep the working directory out of what is imported and executed: it may be a stranger's downloaded folder.

Python, `execvp` and the dynamic linker take an empty or relative entry of a search path to mean the working
directory, and `python -m` searches it first: `PYTHONPATH=$PYTHONPATH:/opt/lib`, with nothing set before, runs
a `json.py` that lies there. Such entries are dropped.

This module runs before anything else may be imported. So it uses `os` and `sys` alone, which Python itself
has loaded.
"""

import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
"""The package's own folder, the working directory of the processes that it starts."""

_ROOT = os.path.dirname(FOLDER)
_STANDARD_LIBRARY = os.path.dirname(os.__file__)
_LINKER_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_SEARCH_PATHS = ("PYTHONPATH", "PATH", *_LINKER_PATHS)
_KERAS = "KERAS_HOME"


def isolate_process() -> None:
    """Drop the working directory from the search paths of this process and of all that it will start.

    For the command line, whose process is Tumorboard's own; a library leaves its user's import path alone.
    The dynamic linker reads its path when a process begins: if that changes, the command begins again.
    """
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    dropped = {_absolute(entry) for entry in entries if not os.path.isabs(entry)}
    if not sys.flags.safe_path and sys.path[0] == _absolute(""):  # put there by `python -m`
        dropped.add(sys.path[0])
    dropped -= {_ROOT, *entries}
    environment = child_environment()
    restart = any(os.environ.get(name, "") != environment.get(name, "") for name in _LINKER_PATHS)
    sys.path[:] = [path for path in sys.path if os.path.isabs(path) and path not in dropped]
    for name in (*_SEARCH_PATHS, _KERAS):
        os.environ.pop(name, None)
    os.environ.update(environment)
    if restart and os.name == "posix":
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def child_environment() -> dict[str, str]:
    """Copy the environment variables without relative search paths, for a process that is started."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    for name in _SEARCH_PATHS:
        value = environment.pop(name, "")
        entries = (value.replace(";", ":") if name in _LINKER_PATHS else value).split(os.pathsep)
        kept = [entry for entry in entries if os.path.isabs(entry)]
        if name == "PYTHONPATH" and _ROOT not in kept and _is_ahead_of_standard_library():
            kept.insert(0, _ROOT)
        if kept:
            environment[name] = os.pathsep.join(kept)
    if not environment.get(_KERAS, FOLDER):  # empty: Keras would read and write a keras.json here
        del environment[_KERAS]
    return environment


def _is_ahead_of_standard_library() -> bool:
    """Whether this package runs from a checkout that is on the import path, but not installed."""
    ahead = sys.path[: sys.path.index(_STANDARD_LIBRARY)] if _STANDARD_LIBRARY in sys.path else []
    return _ROOT in map(_absolute, ahead)


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError:  # the working directory was removed: nothing lies there
        return ""
