"""``python -m bioqa`` and the ``bioqa`` script."""

import sys


def run() -> None:
    """Run the command line and exit with its exit code."""
    from bioqa.cli.main import main

    sys.exit(main())


if __name__ == "__main__":
    run()
