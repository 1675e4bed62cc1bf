"""Keep the warnings of Pillow and pydicom about hostile files away from users, in threads too."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

_lock = threading.Lock()
_filters = contextlib.ExitStack()
_readers = 0
_pydicom_log = logging.getLogger("pydicom")


@contextlib.contextmanager
def readers_quiet() -> Iterator[None]:
    """Ignore the readers' warnings while any thread reads, and leave the process's filters as they were.

    `warnings.catch_warnings` alone is not safe in threads that overlap: the last to leave may restore
    another's filters. So the first reader sets them and the last one restores them.
    """
    global _readers
    with _lock:
        if _readers == 0:
            _filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\.")
            # pydicom also logs what it warns of, and may quote header values.
            _filters.callback(setattr, _pydicom_log, "disabled", _pydicom_log.disabled)
            _pydicom_log.disabled = True
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                _filters.close()
