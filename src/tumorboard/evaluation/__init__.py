"""Metrics, intervals and tests, from predictions alone: no module here imports Keras."""
