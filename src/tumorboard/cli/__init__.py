"""The command line: one function per command, and nothing heavy imported before a command runs."""
