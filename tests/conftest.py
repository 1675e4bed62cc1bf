"""Settings for every test."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tumorboard.evaluation import bootstrap, calibration

# No test may fail because a machine is slow; the examples are the same on every run.
settings.register_profile("tumorboard", deadline=None, derandomize=True)
settings.load_profile("tumorboard")


@pytest.fixture(scope="session", autouse=True)
def few_resamples() -> Iterator[None]:
    """Bootstrap intervals of 100 draws: what is tested of them does not depend on how many there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "REPLICATES", 100)
        patch.setattr(calibration, "_NULL_RUNS", 200)
        yield
