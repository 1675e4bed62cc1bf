"""Check a data set for what would make results wrong, before anything is trained on it."""
