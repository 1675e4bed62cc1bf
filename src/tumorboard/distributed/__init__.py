"""The same work on a Ray cluster: an extra; without it every command runs on one machine."""
