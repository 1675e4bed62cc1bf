"""Metrics, intervals and tests, from predictions alone: no module here imports Keras.

`predict` applies calibrations, so scikit-learn and the parts of SciPy are imported only where they are used.
"""
