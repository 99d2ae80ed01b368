"""How far the properties of a graph tell the accuracy of the network that is built from it.

Two protocols. The published one (arXiv 2107.12917) has a single split of 180 and 20 rows, scaled with all rows. The
honest one predicts every row by a model that has not seen it, many times, and says what the number of sources alone
tells.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bayesprune.errors import DataError, SettingError, UnknownNameError
from bayesprune.graphs.features import FEATURES

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
REGRESSORS = ("bayesian-ridge", "random-forest", "adaboost")
"""The regressors of the published protocol, with scikit-learn's settings as they come."""

_QUANTILES = 200
_PUBLISHED_SPLIT = 7
"""The seed of the published split of scikit-learn's `train_test_split`."""


@dataclass(frozen=True, eq=False)
class AccuracyTable:
    """Graphs with the accuracy of the network built from each.

    Attributes:
        properties: by name, in the order of `FEATURES`, each [N].
        family: [N], the generator of each graph.
        accuracy: [N], in [0, 1].
    """

    properties: Mapping[str, Floats]
    family: tuple[str, ...]
    accuracy: Floats

    def __len__(self) -> int:
        return len(self.accuracy)

    def matrix(self, names: Sequence[str] = FEATURES) -> Floats:
        """Properties [N, K] by name.

        Raises:
            UnknownNameError: there is no such property.
        """
        unknown = next((name for name in names if name not in self.properties), None)
        if unknown is not None:
            raise UnknownNameError("property of graphs", unknown, self.properties)
        return np.column_stack([self.properties[name] for name in names])

    def take(self, rows: npt.NDArray[np.bool_]) -> "AccuracyTable":
        """The rows that are marked."""
        chosen = {name: values[rows] for name, values in self.properties.items()}
        family = tuple(one for one, there in zip(self.family, rows, strict=True) if there)
        return AccuracyTable(chosen, family, self.accuracy[rows])


def read_table(path: str | Path) -> AccuracyTable:
    """Read a table as the study released them: columns `graph`, the 23 properties, and `test_acc`.

    Raises:
        DataError: it cannot be read, columns are missing (all are named), or a cell holds no finite number.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): give a CSV file with a header") from error
    missing = [name for name in ("graph", *FEATURES, "test_acc") if name not in columns]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}: `bayesprune.graphs.features` gives them")
    if len(rows) < 2:
        raise DataError(f"{path} has {len(rows)} rows: at least 2 are needed")
    numbers = {name: _numbers(rows, name, path) for name in (*FEATURES, "test_acc")}
    return AccuracyTable(
        {name: numbers[name] for name in FEATURES}, tuple(row["graph"] for row in rows), numbers["test_acc"]
    )


def _numbers(rows: Sequence[Mapping[str, str]], name: str, path: str | Path) -> Floats:
    found = np.empty(len(rows))
    for place, row in enumerate(rows):
        try:
            found[place] = float(row[name])
        except (TypeError, ValueError):
            found[place] = np.nan
        if not np.isfinite(found[place]):
            raise DataError(f"{path}: {name} is {row[name]!r} in row {place + 1}; a finite number is needed")
    return found


def regressor(name: str, seed: int = 0) -> Any:
    """One of scikit-learn's regressors as it comes; the seed is that of the forest and of AdaBoost.

    Raises:
        UnknownNameError: it is none of `REGRESSORS`.
    """
    from sklearn.ensemble import AdaBoostRegressor, RandomForestRegressor
    from sklearn.linear_model import BayesianRidge

    makers: dict[str, Callable[[], Any]] = {
        "bayesian-ridge": BayesianRidge,
        "random-forest": lambda: RandomForestRegressor(random_state=seed),
        "adaboost": lambda: AdaBoostRegressor(random_state=seed),
    }
    if name not in makers:
        raise UnknownNameError("regressor", name, makers)
    return makers[name]()


def r_squared(truth: Floats, predicted: Floats) -> float:
    """1 - squared error / squared deviation from the mean of the truth: 0 for a constant, negative for worse."""
    return float(1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def published_protocol(table: AccuracyTable, name: str, *, seed: int = 0, names: Sequence[str] = FEATURES) -> float:
    """R squared on the 10 % of the rows that the study tested on.

    As published, properties are scaled to [0, 1] with all rows, those of the test too. Bayesian ridge has no seed and
    must give .4792, .3608, .6722 and .3721 for tanh, ReLU, GRU and LSTM.

    Args:
        table: of one kind of cell.
        name: one of `REGRESSORS`.
        seed: of the regressor.
        names: of the properties.

    Raises:
        UnknownNameError: no such regressor or property.
    """
    from sklearn.model_selection import train_test_split

    inputs = table.matrix(names)
    low, high = inputs.min(0), inputs.max(0)
    scaled = (inputs - low) / np.where(high > low, high - low, 1.0)
    x, x_test, y, y_test = train_test_split(scaled, table.accuracy, test_size=0.1, random_state=_PUBLISHED_SPLIT)
    return r_squared(y_test, regressor(name, seed).fit(x, y).predict(x_test))


def correlations(table: AccuracyTable) -> dict[str, float]:
    """Pearson correlation of each property with accuracy; 0 for one that is the same for all graphs."""
    centred = table.accuracy - table.accuracy.mean()
    found = {}
    for name, values in table.properties.items():
        own = values - values.mean()
        scale = np.sqrt((own**2).sum() * (centred**2).sum())
        found[name] = float((own * centred).sum() / scale) if scale else 0.0
    return found


@dataclass(frozen=True, eq=False)
class FoldPredictions:
    """What models that learnt from F different sets of rows say of all rows.

    Attributes:
        said: [F, N], the mean or median of what each model predicts.
        draws: of the predictive distribution, [S, F, N]; None for models that have none.
    """

    said: Floats
    draws: Floats | None = None


class FoldPredictor(Protocol):
    """Learns from several sets of rows at once."""

    def __call__(self, inputs: Floats, truth: Floats, used: Bools, seeds: Sequence[int]) -> FoldPredictions:
        """Predict rows [N, K] of accuracies [N] by models that learn from rows `used` [F, N], with a seed for each."""
        ...


@dataclass(frozen=True)
class Regressor:
    """One of `REGRESSORS`, a model a set of rows, properties scaled to [0, 1] with these rows; as a `FoldPredictor`.

    Bayesian ridge has draws: 200 quantiles of its normal predictive distribution, evenly spaced in probability.
    """

    name: str

    def __call__(self, inputs: Floats, truth: Floats, used: Bools, seeds: Sequence[int]) -> FoldPredictions:
        """See `FoldPredictor`."""
        found = [
            self._one(inputs, truth, rows, regressor(self.name, seed)) for rows, seed in zip(used, seeds, strict=True)
        ]
        means = np.stack([mean for mean, _ in found])
        if self.name != "bayesian-ridge":
            return FoldPredictions(means)
        from scipy.stats import norm

        steps = norm.ppf((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
        widths = np.stack([width for _, width in found])
        return FoldPredictions(means, means + steps[:, None, None] * widths)

    def _one(self, inputs: Floats, truth: Floats, rows: Bools, model: Any) -> tuple[Floats, Floats]:
        low, high = inputs[rows].min(0), inputs[rows].max(0)
        scaled = (inputs - low) / np.where(high > low, high - low, 1.0)
        model.fit(scaled[rows], truth[rows])
        if self.name == "bayesian-ridge":
            mean, width = model.predict(scaled, return_std=True)
            return mean, width
        mean = np.full(len(truth), np.nan)
        mean[~rows] = model.predict(scaled[~rows])
        return mean, mean


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """Predictions of rows by models that have not seen them.

    Attributes:
        r_squared: mean over repeats.
        spread: sample standard deviation over repeats, which differ in how rows are dealt into folds; 0 for one.
        interval: 95 % interval by drawing rows anew (2,000 times) with each row's predictions averaged over repeats:
            how sure so few graphs let one be. It does not hold what another training of the networks would change.
        predicted: [N], averaged over repeats.
        draws: of the predictive distributions, [repeats, S, N]; None for models that have none.
    """

    r_squared: float
    spread: float
    interval: tuple[float, float]
    predicted: Floats
    draws: Floats | None = None


def cross_validated(
    table: AccuracyTable,
    name: str | FoldPredictor,
    *,
    names: Sequence[str] = FEATURES,
    groups: Sequence[Any] | None = None,
    folds: int = 10,
    repeats: int = 5,
    seed: int = 0,
) -> CrossValidated:
    """Repeated cross-validation; properties are scaled with the training rows of each fold.

    Args:
        table: of one kind of cell.
        name: one of `REGRESSORS`, or a predictor such as `bayesprune.inference.accuracy.HorseshoePredictor`.
        names: of the properties; ["source_nodes"] is the baseline.
        groups: [N]; all rows of a group are in one fold, so that a model is asked about groups it has not seen. One
            fold a group, and one repeat, where there are no more groups than folds.
        folds: how many; 2 or more.
        repeats: how often rows are dealt anew.
        seed: of folds and regressors.

    Raises:
        SettingError: fewer than 2 folds or groups, or more folds than rows.
        UnknownNameError: no such regressor or property.
    """
    inputs, truth = table.matrix(names), table.accuracy
    keys = np.arange(len(table)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    kinds = int(keys.max()) + 1
    if len(keys) != len(table) or not 2 <= folds <= len(table) or kinds < 2 or repeats < 1:
        raise SettingError(
            f"{repeats} repeats of {folds} folds of {len(table)} rows in {kinds} groups (of {len(keys)} rows): take "
            "one or more repeats, 2 or more folds, no more than rows, and a group a row, 2 or more different ones"
        )
    random = np.random.default_rng(seed)
    dealt = [(random.permutation(kinds) % folds)[keys] for _ in range(1 if kinds <= folds else repeats)]
    places = [(repeat, fold) for repeat, fold_of in enumerate(dealt) for fold in np.unique(fold_of)]
    used = np.stack([dealt[repeat] != fold for repeat, fold in places])
    predictor = Regressor(name) if isinstance(name, str) else name
    found = predictor(inputs, truth, used, [seed + repeat for repeat, _ in places])
    rows = np.arange(len(table))
    who = [  # for each row the model that has not seen it
        np.array([places.index((repeat, fold)) for fold in fold_of]) for repeat, fold_of in enumerate(dealt)
    ]
    predictions = [found.said[models, rows] for models in who]
    draws = None if found.draws is None else np.stack([found.draws[:, models, rows] for models in who])
    scores = [r_squared(truth, one) for one in predictions]
    average = np.mean(predictions, axis=0)
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return CrossValidated(float(np.mean(scores)), spread, _interval(truth, average, random), average, draws)


def within_groups(table: AccuracyTable, found: CrossValidated, groups: Sequence[Any]) -> float:
    """R squared of predictions around the mean of each group: what they tell where the group is known already.

    With the number of sources as groups this is accuracy predicted with sources held fixed: 1 - squared error /
    squared deviation from the group's mean, where both are taken around the group's means of truth and prediction.
    """
    keys = np.unique(np.asarray(groups), return_inverse=True)[1]
    counts = np.bincount(keys)

    def centred(values: Floats) -> Floats:
        return values - (np.bincount(keys, weights=values) / counts)[keys]

    truth, predicted = centred(table.accuracy), centred(found.predicted)
    return float(1 - ((truth - predicted) ** 2).sum() / (truth**2).sum())


def _interval(truth: Floats, predicted: Floats, random: np.random.Generator) -> tuple[float, float]:
    rows = random.integers(len(truth), size=(2_000, len(truth)))
    drawn, error = truth[rows], (truth - predicted)[rows] ** 2
    around = ((drawn - drawn.mean(1, keepdims=True)) ** 2).sum(1)
    scores = 1 - error.sum(1)[around > 0] / around[around > 0]
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)
