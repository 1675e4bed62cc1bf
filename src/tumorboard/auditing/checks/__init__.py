"""One check a file; `run.CHECKS` lists them all. Each code has a page in docs/checks."""
