"""The command line: a file a command, and nothing heavy imported before a command runs."""
