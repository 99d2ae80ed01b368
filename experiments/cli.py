"""The command line: names and one-line help here, everything heavy in `commands`, imported when a command is called."""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from bayesprune import __version__
from bayesprune.errors import BayespruneError

_COMMANDS = {
    "compare": "Methods side by side on the bundled digits: the table, who won, and report.html.",
    "prune": "One method on one network and data set.",
    "study": "A grid of runs described in a TOML file.",
    "posterior": "ArviZ summary and plot of a run's gates.",
    "report": "The page of finished runs.",
    "data": "What data there is, where it lies; fetch it.",
}

app = App(
    name="bayesprune",
    help="Train a network once: a smaller plain network, the posterior over its structure, an honest comparison.",
    version=__version__,
)
for _name, _help in _COMMANDS.items():
    app.command(f"bayesprune.experiments.commands.{_name}:{_name}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit status 0, 2 for bad input with one clear line, 130 after Ctrl-C."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except (BayespruneError, CycloptsError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("bayesprune: interrupted; what was finished is kept, --resume goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    return 0


def _fail(message: str) -> int:
    """One line on standard error."""
    line = " ".join(message.split())
    print(f"bayesprune: {line}", file=sys.stderr)
    return 2
