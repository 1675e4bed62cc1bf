"""Runs on a Ray cluster, an extra: every command works on one machine without it."""
