"""The command line: names, help and exit statuses; what is heavy is imported when a command is called."""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from bayesprune import __version__
from bayesprune.errors import BayespruneError

_HELP = "Train a network once: a smaller plain network, its structure's posterior, an honest comparison."
_EPILOGUE = """\
bayesprune COMMAND --help tells more, with examples. Every command takes --json: one JSON object on standard output, all
else on standard error. Exit status: 0; 2 for bad input, with one line that says what to do; 130 after Ctrl-C."""

_COMMANDS = {
    "compare": (
        "Methods side by side on the bundled digits: the table, who won, and report.html.",
        """\
Every method gets the same seeds and as many epochs. Methods that need a size take it from the parsimonious run with
the same seed: as many weights, or no more multiply-accumulates (MACs). Finished runs are not made again.

Examples:
  bayesprune compare
  bayesprune compare --network lenet5 --seeds 5 --out lenet5
  bayesprune compare --data npz:mine.npz --methods dense parsimonious l1-units""",
    ),
    "prune": (
        "One method on one network and data set.",
        """\
Examples:
  bayesprune prune
  bayesprune prune --network lenet5 --data mnist --budget macs=150k
  bayesprune prune --method l1-units --budget macs=10% --epochs 20
  bayesprune prune --network package.module:callable --weights trained.safetensors --data folder:pictures""",
    ),
    "study": (
        "A grid of runs described in a TOML file.",
        """\
The keys of the file are the settings of a run; a list stands for one run with each of its entries, `seeds` for so many
seeds, and methods are a list of names or tables [method.NAME] with settings of their own.

Examples:
  bayesprune study examples/prices.toml
  bayesprune study mine.toml --out results --workers 8 --resume""",
    ),
    "posterior": (
        "ArviZ summary and plot of a run's gates.",
        """\
Several runs that differ in their seed only become chains.

Examples:
  bayesprune posterior runs/7568d3d2f1f1
  bayesprune posterior demo/runs/* --netcdf gates.nc""",
    ),
    "report": (
        "The page of finished runs.",
        """\
Examples:
  bayesprune report runs
  bayesprune report runs/7568d3d2f1f1 other/runs --out page.html""",
    ),
    "data": (
        "What data there is, where it lies; fetch it.",
        """\
Examples:
  bayesprune data
  bayesprune data mnist
  bayesprune data npz:mine.npz""",
    ),
}

app = App(
    name="bayesprune",
    help=_HELP,
    help_epilogue=_EPILOGUE,
    help_format="plaintext",
    version=__version__,
    suppress_keyboard_interrupt=False,
)
for _name, (_help, _epilogue) in _COMMANDS.items():
    app.command(
        f"bayesprune.experiments.commands.{_name}:{_name}", name=_name, help=_help, help_epilogue=_epilogue
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit status 0, 2 for bad input with one clear line, 130 after Ctrl-C."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (BayespruneError, CycloptsError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print(
            "bayesprune: interrupted; finished runs are kept, and the same command with --resume goes on",
            file=sys.stderr,
        )
        return 130
    return 0


def _fail(message: str) -> int:
    """One line on standard error."""
    print(f"bayesprune: {' '.join(message.split())}", file=sys.stderr)
    return 2
