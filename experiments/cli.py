"""The command line: names, help and exit statuses; what is heavy is imported when a command is called."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cyclopts import App, CycloptsError, UnusedCliTokensError

from bayesprune import __version__
from bayesprune.errors import BayespruneError

_HELP = "Train a network once: a smaller plain network, its structure's posterior, an honest comparison."
_MORE = (
    "bayesprune COMMAND --help tells more, with examples. Every command takes --json: one JSON object on standard "
    "output, all else on standard error. Exit status: 0; 2 for bad input, with one line that says what to do; "
    "130 after Ctrl-C."
)


@dataclass(frozen=True)
class _Command:
    """What help says of a command.

    Attributes:
        summary: one sentence, also in the list of commands.
        examples: whole command lines, below all flags.
        more: what else there is to know, above the examples.
    """

    summary: str
    examples: Sequence[str]
    more: str = ""

    @property
    def epilogue(self) -> str:
        """What stands below the flags."""
        lines = "\n".join(f"  bayesprune {example}" for example in self.examples)
        return "\n\n".join(filter(None, [self.more, f"Examples:\n{lines}"]))


_COMMANDS = {
    "compare": _Command(
        "Methods side by side on the bundled digits: a table, the verdict in a few sentences, and report.html.",
        (
            "compare",
            "compare --network lenet5 --seeds 5 --out lenet5",
            "compare --data npz:mine.npz --methods dense parsimonious l1-units",
        ),
        "Every method gets the same seeds and as many epochs. Methods that need a size take it from the parsimonious "
        "run with the same seed: as many weights, or no more multiply-accumulates (MACs). The verdict names the most "
        "accurate of the methods that take no more MACs. Sizes, prices and options go to parsimonious only. Finished "
        "runs are not made again.",
    ),
    "prune": _Command(
        "One method on one network and data set.",
        (
            "prune",
            "prune --network lenet5 --data mnist --budget macs=150k",
            "prune --method l1-units --budget macs=10% --epochs 20",
            "prune --network package.module:callable --weights trained.safetensors --data folder:pictures",
        ),
    ),
    "study": _Command(
        "A grid of runs described in a TOML file.",
        ("study examples/prices.toml", "study mine.toml --out results --workers 8"),
        "The keys of the file are the settings of a run; a list stands for one run with each of its entries. `seeds` "
        "is a number of seeds, and methods are a list of names, or tables [method.NAME] with settings of their own.",
    ),
    "paper": _Command(
        "The study of a paper's method: its runs, published figures beside ours, one page.",
        (
            "paper parsimonious --quick",
            "paper parsimonious --part lenet5 --workers 2",
            "paper parsimonious --out results",
            "paper hidden-structures --part pruning --repeats 5",
        ),
        "Into the folder go the runs, NAME.html, tables.md, the pictures as PNG files and results.json. Every figure "
        "is that of the last epoch; a figure that is missed says so.",
    ),
    "search": _Command(
        "Architecture search: random graphs or cells, by evolution with a predictor of accuracy.",
        (
            "search",
            "search --space cells --candidates 20 --epochs 3",
            "search --data fashion-mnist@5000/3000 --objectives accuracy,macs",
            "search --strategy random --out searched",
        ),
        "Validation accuracy decides; the test accuracy is that of the winner alone. Each network is a run folder, "
        "trained once, and the same command goes on where it was interrupted.",
    ),
    "inspect": _Command(
        "Every layer of a network: what can be removed, tied with what, left whole and why.",
        (
            "inspect lenet5",
            "inspect package.module:callable --shape 3 224 224 --classes 1000",
            "inspect lenet5 --keep conv1 --json",
        ),
        "Totals and the smallest possible cost stand below the table, and what --keep must name where a run would "
        "refuse the network.",
    ),
    "posterior": _Command(
        "ArviZ summary and plot of a run's gates.",
        ("posterior runs/7568d3d2f1f1", "posterior runs --netcdf gates.nc"),
        "Several runs that differ in their seed only become chains.",
    ),
    "graph": _Command(
        "The network that survives a run as a graph: its properties, and a picture.",
        ("graph runs/7568d3d2f1f1", "graph small --level layer --graphml small.graphml"),
        "Beside each property stands that of random graphs in which every unit has as many edges to and from each "
        "layer.",
    ),
    "report": _Command(
        "The page of finished runs.",
        ("report runs", "report runs/7568d3d2f1f1 elsewhere/runs --out page.html"),
    ),
    "data": _Command(
        "What data there is, where it lies; fetch it.",
        ("data", "data mnist", "data npz:mine.npz"),
    ),
}

_RESUMABLE = ("compare", "prune", "study", "paper", "search")

app = App(
    name="bayesprune",
    help=_HELP,
    help_epilogue=_MORE,
    help_format="plaintext",
    version=__version__,
    suppress_keyboard_interrupt=False,
)
for _place, (_name, _command) in enumerate(_COMMANDS.items()):
    app.command(
        f"bayesprune.experiments.commands.{_name}:{_name}",
        name=_name,
        help=_command.summary,
        help_epilogue=_command.epilogue,
        sort_key=_place,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit status 0, 2 for bad input with one clear line, 130 after Ctrl-C."""
    _find_modules_here()
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CycloptsError as error:
        return _fail(_usage(error))
    except (BayespruneError, OSError) as error:  # what the system refuses is no bug: a disk that fails, say
        return _fail(str(error))
    except KeyboardInterrupt:
        kept = "; finished runs are kept, and the same command goes on"
        print(f"bayesprune: interrupted{kept if tokens and tokens[0] in _RESUMABLE else ''}", file=sys.stderr)
        return 130
    return 0


def _find_modules_here() -> None:
    """Let --network find a module of the user's in the working folder; last, so that it hides nothing."""
    with suppress(OSError):  # the folder may be gone
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())


def _usage(error: CycloptsError) -> str:
    """What is wrong with the command line, and whose help says more."""
    text = str(error)
    if isinstance(error, UnusedCliTokensError):
        text = f"There is no place for {' '.join(error.unused_tokens or [])}."
    return f"{text} See {' '.join(['bayesprune', *(error.command_chain or ())])} --help."


def _fail(message: str) -> int:
    """One line on standard error."""
    print(f"bayesprune: {' '.join(message.split())}", file=sys.stderr)
    return 2
