"""The stories of the command line, each short enough to read at a glance."""
