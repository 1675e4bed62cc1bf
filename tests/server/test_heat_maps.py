import time
from pathlib import Path

import numpy as np
import pytest

from tests import processes
from tumorboard.errors import ModelError
from tumorboard.server.heat_maps import HeatMaps

IMAGE = np.zeros((8, 8, 3), np.uint8)


def gone(pid: int) -> bool:
    end = time.monotonic() + 60
    while processes.lives(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not processes.lives(pid)


def test_the_process_ends_when_nothing_more_is_asked(tmp_path: Path) -> None:
    """A run without models: Keras is loaded only once their hashes are right."""
    heat_maps = HeatMaps(tmp_path, {}, idle_seconds=0.5)
    with pytest.raises(ModelError, match="not listed"):
        heat_maps.layer("custom", IMAGE, 0)
    (pid,) = heat_maps.pids
    assert gone(pid)
    with pytest.raises(ModelError, match="not listed"):
        heat_maps.layer("custom", IMAGE, 0)
    (other,) = heat_maps.pids
    assert other != pid
    heat_maps.close()
    assert gone(other)
    assert heat_maps.pids == []


def test_it_is_kept_between_requests(tmp_path: Path) -> None:
    heat_maps = HeatMaps(tmp_path, {})
    pids = []
    for _ in range(2):
        with pytest.raises(ModelError):
            heat_maps.layer("custom", IMAGE, 0)
        pids += heat_maps.pids
    heat_maps.close()
    assert len(set(pids)) == 1
