"""Fitting a model so that it can be interrupted anywhere and resumed exactly."""
