"""The errors of bayesprune: one base class, and messages that name the value, the limit and the cure."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path


class BayespruneError(Exception):
    """Base class of every error this library raises on purpose."""


class PruningWarning(UserWarning):
    """A run went on, and its result is other than its user may expect; the message says what to change."""


class SettingError(BayespruneError, ValueError):
    """A setting has a value that cannot be used."""


def a_kind(value: object) -> str:
    """What kind of thing a value is, with its article, for messages: "an int", "a Tensor", "None"."""
    name = type(value).__name__
    if value is None:
        return "None"
    return f"{'an' if name.lstrip('_')[:1].lower() in 'aeiou' else 'a'} {name}"


_SAME = {
    "batch_size": "bs batch batchsize n_batch nbatch",
    "budget": "macs flops params target size max_macs max_params compression speedup",
    "checkpoint": "ckpt checkpoint_path checkpoint_file resume",
    "data": "dataset loader dataloader train_loader",
    "density": "sparsity amount ratio pruning_ratio keep_ratio fraction prune_ratio",
    "device": "gpu accelerator cuda cpu use_cuda",
    "epochs": "epoch n_epochs num_epochs nepochs max_epochs iterations",
    "keep": "ignore ignored ignored_layers exclude skip frozen keep_layers",
    "learning_rate": "lr eta step_size rate learningrate alpha_lr",
    "method": "algorithm algo pruner strategy",
    "network": "model net module",
    "precision": "dtype amp mixed_precision half fp16 bf16 autocast",
    "price": "lam lambda lambda_ lamb reg regularization regularisation",
    "progress": "verbose quiet silent callback callbacks progress_bar progressbar disable_progress tqdm log",
    "seed": "random_state random_seed rng manual_seed",
    "slab": "weight_decay wd l2 decay prior_std",
    "threads": "n_threads num_threads n_jobs workers num_workers",
    "weights": "init pretrained state_dict initial_weights",
    "widths": "hidden hidden_sizes hidden_size width layer_sizes",
    "workers": "n_jobs num_workers processes threads",
}
_SYNONYMS = {(word, name) for name, words in _SAME.items() for word in words.split()}
"""What other libraries call a setting, and what it is called here."""


def nearest_name(name: str, known: Collection[str]) -> str | None:
    """The known name that somebody most likely means: the same thing by another word, or the one spelt most alike."""
    asked = name.lower().replace("-", "_")
    meant = [one for one in sorted(known) if (asked, one) in _SYNONYMS]
    return next(iter([*meant, *get_close_matches(asked, known, n=1, cutoff=0.5)]), None)


class UnknownNameError(SettingError):
    """A name is in no table; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = nearest_name(name, names)
        hint = "" if near is None else f"did you mean {near!r}? "
        super().__init__(f"unknown {kind} {name!r}: {hint}there are {', '.join(names)}")
        self.kind, self.name, self.nearest = kind, name, near


class BudgetError(SettingError):
    """A price, budget or density that no network of this kind can meet."""


class DataError(BayespruneError, ValueError):
    """Data that cannot be learned from: wrong shapes, not finite, labels out of range, damaged files."""


class DataUnavailableError(DataError):
    """A data set is not on this machine and cannot be fetched; the message says where its files go."""


class NetworkError(BayespruneError, ValueError):
    """A network, or a layer of it, that cannot be used as asked."""


class UnsupportedLayerError(NetworkError):
    """Layers whose channels cannot be gated and removed exactly; the message names them all.

    Attributes:
        keep: what to give as `keep` instead, so that the network is accepted.
        left: how many channels can be removed then; 0 also where that is not known.
    """

    def __init__(self, message: str, *, keep: Iterable[str] = (), left: int = 0) -> None:
        super().__init__(message)
        self.keep, self.left = tuple(keep), left


class InputShapeError(NetworkError):
    """The network cannot take inputs of this shape."""


class GraphError(BayespruneError, ValueError):
    """A graph that cannot be used: isolated vertices, several parts, loops, cycles, or settings without one."""


class StoreError(BayespruneError, OSError):
    """A run folder or file that cannot be written, or that is damaged or was tampered with."""


class DivergenceError(BayespruneError, ArithmeticError):
    """The training loss is no longer finite."""

    def __init__(self, step: int, learning_rate: float, last_good: Path | None) -> None:
        kept = f"the last good state is {last_good}" if last_good else "no state had been saved yet"
        super().__init__(
            f"the loss is not finite at step {step} with learning rate {learning_rate:g}; {kept}; "
            "try a smaller learning rate or check the scale of the inputs"
        )
        self.step, self.learning_rate, self.last_good = step, learning_rate, last_good
