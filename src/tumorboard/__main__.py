"""The command: `tumorboard`, or `python -m tumorboard`."""

import sys

from tumorboard.isolation import isolate_process


def main() -> int:
    """Run one command in a process that imports nothing from the working directory."""
    isolate_process()
    from tumorboard.cli import main as cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
