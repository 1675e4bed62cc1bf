"""Tumorboard: train, combine and honestly evaluate CNNs on labelled medical images.

Research software, not a medical device.
"""

__version__ = "0.1.0"

NOTICE = "Research software, not a medical device, not for diagnosis."
