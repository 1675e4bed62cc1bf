"""Ensembles and chains: models made of models."""
