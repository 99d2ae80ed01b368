"""The posterior of the regression of accuracy as an xarray DataTree, which ArviZ reads."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bayesprune.errors import SettingError
from bayesprune.inference.accuracy.fitting import FittedAccuracy

if TYPE_CHECKING:
    import xarray

_OF_PROPERTIES = ("weights", "trend", "local")
_SCALARS = ("level", "log_noise", "freedom", "shrinkage", "slab")


def posterior_tree(fitted: FittedAccuracy, names: Sequence[str], place: int = 0) -> "xarray.DataTree":
    """The posterior of one set of training rows.

    Group `posterior`: `weights`, `trend` and `local` [chain, draw, property], `level`, `log_noise`, `freedom`,
    `shrinkage` and `slab` [chain, draw], of standardised properties and logits; `constant_data`: `centre` and `width`
    [property], `logit_mean` and `logit_deviation`, by which they were standardised. Draws of variational inference are
    independent and one chain: R-hat and the effective sample size say nothing of them. Those of NUTS have their chains.

    Args:
        fitted: by `fit` or `fit_nuts`.
        names: of the properties, in the order of the columns.
        place: of the set among those that were fitted.

    Raises:
        SettingError: there are more or fewer properties, or no such set.
    """
    import xarray

    scaling = fitted.scaling
    sets, count = scaling.centre.shape
    if len(names) != count or not 0 <= place < sets:
        raise SettingError(
            f"{len(names)} names and set {place}: {count} properties were fitted, of sets 0 to {sets - 1}"
        )
    draws = {
        name: fitted.draws[name][:, place]
        .double()
        .numpy()
        .reshape(fitted.chains, -1, *([count] * (name in _OF_PROPERTIES)))
        for name in (*_OF_PROPERTIES, *_SCALARS)
    }
    axes = {name: ("chain", "draw", *(("property",) if name in _OF_PROPERTIES else ())) for name in draws}
    posterior = xarray.Dataset(
        {name: (axes[name], values) for name, values in draws.items()}, coords={"property": list(names)}
    )
    constants = xarray.Dataset(
        {
            "centre": ("property", scaling.centre[place]), "width": ("property", scaling.width[place]),
            "logit_mean": scaling.level[place], "logit_deviation": scaling.spread[place],
        },
        coords={"property": list(names)},
    )  # fmt: skip
    return xarray.DataTree.from_dict({"posterior": posterior, "constant_data": constants})
