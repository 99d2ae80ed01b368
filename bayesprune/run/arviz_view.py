"""ArviZ, in the two versions that there are, on trees of ours."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesprune.errors import SettingError, UnknownNameError, a_kind

if TYPE_CHECKING:
    import pandas
    import xarray

FEWEST = 4
"""Draws a chain that R-hat and effective sample sizes need at least."""

KINDS = ("all", "stats", "diagnostics")
"""Of summaries."""

OF_CHAINS = ("r_hat", "ess_bulk", "ess_tail", "mcse_mean", "mcse_sd", "mcse_median")
"""Columns of ArviZ's summary that compare draws, and say nothing of what never changes."""


def import_arviz() -> Any:
    """The module `arviz`, which takes seconds to import; its news of the day is held back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


def for_arviz(tree: "xarray.DataTree") -> Any:
    """The tree as the installed ArviZ takes it: as it is from 1.0 on, before that as InferenceData.

    Raises:
        SettingError: it is no tree.
    """
    _check_tree(tree)
    container = vars(import_arviz()).get("InferenceData")  # getattr would make ArviZ 1.x warn
    return tree if container is None else container.from_datatree(tree)


@contextmanager
def quiet() -> Iterator[Any]:
    """ArviZ without its warnings: that few draws, one chain or what never changes have no R-hat is said elsewhere."""
    arviz = import_arviz()
    known = [name for name in logging.root.manager.loggerDict if name.startswith("arviz")]
    # ArviZ 0.23 has a logger of its own besides, which never forgets that it was once enabled for a level.
    own = [log for log in [getattr(arviz, "_log", None)] if isinstance(log, logging.Logger)]
    loggers = [log for log in [*own, *map(logging.getLogger, known)] if not log.disabled]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.disabled = True
            yield arviz
        finally:
            for logger in loggers:
                logger.disabled = False


def summary(
    tree: "xarray.DataTree", variable: str = "open_gates", gates: Sequence[str] | None = None, kind: str = "all"
) -> "pandas.DataFrame":
    """ArviZ's summary of one variable of the posterior; NaN for the diagnostics of what never changes in any chain.

    Where a gate is closed in every draw of one chain and open in every draw of another, R-hat divides by no variance:
    ArviZ says numbers such as 3e15 then. Such a gate was decided, and there is nothing to diagnose.

    Args:
        tree: as `to_datatree` makes it, with at least 4 draws a chain.
        variable: of the group `posterior`.
        gates: names such as `fc1[12]`, where the variable is one of gates; None for all. No row where there is none.
        kind: "all", "stats" or "diagnostics", as in `arviz.summary`.

    Raises:
        SettingError: there is no tree, its posterior has no such variable or gate, or too few draws.
    """
    import pandas
    import xarray

    _check_tree(tree)
    if kind not in KINDS:
        raise UnknownNameError("kind", str(kind), KINDS)
    posterior = tree["posterior"].to_dataset() if "posterior" in tree else xarray.Dataset()
    if variable not in posterior:
        raise SettingError(f"the posterior has no variable {variable!r}: there are {', '.join(map(str, posterior))}")
    if posterior.sizes["draw"] < FEWEST:
        raise SettingError(f"draws is {posterior.sizes['draw']}: a summary needs at least {FEWEST} a chain")
    chosen = posterior[[variable]]
    if gates is not None:
        if not len(gates):
            return pandas.DataFrame()
        known = set(chosen["gate"].to_numpy().tolist()) if "gate" in chosen[variable].dims else set()
        if unknown := [name for name in gates if name not in known]:
            raise SettingError(f"{variable!r} has no gate {unknown[0]!r}: gates are named like fc1[12]")
        chosen = chosen.sel(gate=list(gates))
    small = xarray.DataTree.from_dict({"posterior": chosen.drop_dims(set(chosen.dims) - set(chosen[variable].dims))})
    with quiet() as arviz:
        table: pandas.DataFrame = arviz.summary(for_arviz(small), round_to="none", kind=kind)
    values = chosen[variable]
    constant = (values == values.isel(draw=0)).all(("chain", "draw")).to_numpy().ravel()
    table.loc[constant, [name for name in OF_CHAINS if name in table]] = np.nan
    return table


def _check_tree(tree: Any) -> None:
    """Refuse what is no tree.

    Raises:
        SettingError: says what it is, and where trees come from.
    """
    import xarray

    if not isinstance(tree, xarray.DataTree):
        raise SettingError(
            f"the tree is {a_kind(tree)}: give an xarray.DataTree, as pruned.posterior_tree(), bayesprune.to_datatree "
            "or bayesprune.load_tree make it"
        )
