"""Settings for every test."""

from hypothesis import settings

# No test may fail because a machine is slow; the examples are the same on every run.
settings.register_profile("tumorboard", deadline=None, derandomize=True)
settings.load_profile("tumorboard")
