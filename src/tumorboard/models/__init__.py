"""The keras models, the spec that they keep, and their backbones."""
