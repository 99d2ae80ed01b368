"""The console script: ``bayesprune`` and ``python -m bayesprune``."""

import sys


def main() -> int:
    """Run the command line of the fourth floor and return its exit status."""
    try:
        from bayesprune.experiments.cli import main as run
    except KeyboardInterrupt:  # Ctrl-C while the command line itself is being imported
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
