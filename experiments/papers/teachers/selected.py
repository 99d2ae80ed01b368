"""Which inputs are selected: by runs, by Gibbs draws on top of them, and by Lasso and forest from scikit-learn.

What is no run is computed once and kept beside the run folders, so that a study can be gone on with.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bayesprune.data import Data
from bayesprune.data.cached import load_cached
from bayesprune.data.teachers import TRUE_INPUTS
from bayesprune.errors import StoreError
from bayesprune.store.atomic import read_json, write_json
from bayesprune.store.runs import RunRecord

BESIDE = "beside"
"""Folder of what is no run, among the run folders."""

INPUTS = "inputs"
"""Name of the group of input gates."""

LASSO, FOREST, GIBBS = "lasso", "forest", "gibbs"
FOLDS, TREES, LEAF = 5, 100, 5
"""Of Lasso's cross-validation; of the forest, whose leaves hold so many examples at least."""

_VERSION = 1
"""Of what is kept: another one is computed anew."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """The inputs that were selected on one draw of the data.

    Attributes:
        inputs: their positions, ascending.
        rmse: of the test split, in the unit of the targets; None where there is none.
        runs: of which it is the best by validation; 0 for what is no run.
    """

    inputs: tuple[int, ...]
    rmse: float | None = None
    runs: int = 0

    @property
    def false_positives(self) -> int:
        """Selected inputs that the targets do not depend on."""
        return len(set(self.inputs) - set(TRUE_INPUTS))

    @property
    def missed(self) -> tuple[int, ...]:
        """True inputs that were not selected."""
        return tuple(place for place in TRUE_INPUTS if place not in self.inputs)


def of_run(run: RunRecord) -> Selection:
    """The inputs that are open at the end of a run."""
    kept = next(group["kept"] for group in run.groups if group["name"] == INPUTS)
    return Selection(tuple(kept), float(run.result["metrics"]["rmse"]["value"]))


def gibbs_of(run: RunRecord) -> Selection:
    """Of the inputs left by a run those that are open in more than half of 2 x 100 Gibbs draws, at its last weights."""

    def draw() -> Selection:
        from bayesprune.experiments.facade import load

        assert run.folder is not None  # else there are no weights, and `_kept` is not asked
        pruned = load(run.folder)
        found = pruned.gibbs(
            load_cached(str(run.settings["data"])), draws=100, chains=2, examples=1_000, progress=False
        )
        own = [place for place, group in enumerate(found.groups) if group == INPUTS]
        chosen = sorted(int(found.indices[place]) for place in own if float(found.inclusion[place]) > 0.5)
        return Selection(tuple(chosen))

    return _kept(place_of(run), f"{GIBBS}-{run.id}", "", draw)


def baseline(name: str, data: str, place: Path | None) -> Selection:
    """What Lasso or a forest selects.

    Lasso's penalty is that of the least error in cross-validation, and inputs with a coefficient other than 0 are
    selected. The forest gets every input a second time with its values shuffled, and inputs are selected whose
    importance is above that of all shuffled ones (one round of Boruta; Kursa and Rudnicki, 2010).

    Args:
        name: "lasso" or "forest".
        data: name of the data, with its draw.
        place: of the run folders; None where nothing is to be kept.
    """
    loaded = load_cached(data)
    return _kept(place, f"{name}-{data}", loaded.fingerprint, lambda: _BASELINES[name](loaded))


def place_of(run: RunRecord) -> Path | None:
    """Where the run folders lie; None for a record that was not read from disk."""
    return None if run.folder is None else Path(run.folder).parent


def _lasso(data: Data) -> Selection:
    from sklearn.linear_model import LassoCV

    x, y = _arrays(data, "train")
    model = LassoCV(cv=FOLDS, random_state=0).fit(x, y)
    return Selection(tuple(np.flatnonzero(model.coef_).tolist()), _rmse(model, data))


def _forest(data: Data) -> Selection:
    from sklearn.ensemble import RandomForestRegressor

    x, y = _arrays(data, "train")
    shuffled = np.random.default_rng(0).permuted(x, axis=0)
    settings: dict[str, Any] = {
        "n_estimators": TREES,
        "min_samples_leaf": LEAF,
        "max_features": "sqrt",
        "random_state": 0,
    }
    importance = RandomForestRegressor(**settings).fit(np.hstack([x, shuffled]), y).feature_importances_
    chosen = np.flatnonzero(importance[: x.shape[1]] > importance[x.shape[1] :].max())
    return Selection(tuple(chosen.tolist()))


_BASELINES: dict[str, Callable[[Data], Selection]] = {LASSO: _lasso, FOREST: _forest}


def _arrays(data: Data, split: str) -> tuple[Array, Array]:
    """Inputs and targets of a split, standardised by the training split."""
    inputs, targets = next(iter(getattr(data, split).batches(10**9)))
    return inputs.flatten(1).numpy().astype(np.float64), targets[:, 0].numpy().astype(np.float64)


def _rmse(model: Any, data: Data) -> float:
    """Error on the test split in the unit of the targets."""
    x, y = _arrays(data, "test")
    std: float = data.task.std[0]  # type: ignore[attr-defined]  # teachers are regressions
    return float(np.sqrt(np.mean((model.predict(x) - y) ** 2)) * std)


def _kept(place: Path | None, name: str, fingerprint: str, compute: Callable[[], Selection]) -> Selection:
    """What is kept under a name, computed where it is not there or of other data."""
    marks = {"version": _VERSION, "fingerprint": fingerprint}
    file = None if place is None else place / BESIDE / f"{name}.json"
    if file is not None and file.is_file():
        try:
            document = read_json(file)
            if {key: document[key] for key in marks} == marks:
                return Selection(tuple(document["inputs"]), document["rmse"], document["runs"])
        except (StoreError, LookupError, TypeError):
            pass  # damaged, or of another version: computed anew
    found = compute()
    if file is not None:
        write_json(file, marks | asdict(found) | {"inputs": list(found.inputs)})
    return found
