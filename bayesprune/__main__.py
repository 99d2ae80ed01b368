"""The console script: ``bayesprune`` and ``python -m bayesprune``."""

import sys


def main() -> int:
    """Run the command line of the fourth floor and return its exit status."""
    from bayesprune.experiments.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
