"""Finds what would make results wrong before anything is trained: coded checks, a file each."""
