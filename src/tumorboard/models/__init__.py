"""The keras models, the contract that they keep, and their backbones."""
