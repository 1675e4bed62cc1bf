"""Keras models: their specification, their architectures and backbones, saving and loading."""
