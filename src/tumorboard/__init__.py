"""Tumorboard: train, combine and honestly evaluate CNNs on labelled medical images.

Research software, not a medical device.
"""

__version__ = "0.1.0"
