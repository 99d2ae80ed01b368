"""What can be told of strings without reading them in order: the figures that a network must beat."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bayesprune.data.reber.letters import VOCABULARY, Tokens, lengths
from bayesprune.data.value import Data
from bayesprune.errors import DataError

Answers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Baseline:
    """A rule, and how often it is right.

    Attributes:
        name: of the rule.
        accuracy: share of the test strings that it tells apart, in [0, 1].
    """

    name: str
    accuracy: float


def _lookup(keys: Callable[[Tokens], Sequence[Any]]) -> "Rule":
    """The more frequent class of training strings with the same key; a new key is not of the grammar."""

    def rule(tokens: Tokens, classes: Answers, asked: Tokens) -> Answers:
        seen: dict[Any, Counter[int]] = defaultdict(Counter)
        for key, one in zip(keys(tokens), classes.tolist(), strict=True):
            seen[key][one] += 1
        return np.array([max(seen[key], key=seen[key].__getitem__) if key in seen else 0 for key in keys(asked)])

    return rule


def _only_seen(size: int) -> "Rule":
    """Right where each run of so many neighbours was seen in a right training string."""

    def rule(tokens: Tokens, classes: Answers, asked: Tokens) -> Answers:
        seen = np.zeros(VOCABULARY**size, np.bool_)
        codes = _runs(tokens[classes == 1], size)
        seen[codes[codes >= 0]] = True
        of_asked = _runs(asked, size)
        fits: npt.NDArray[np.bool_] = seen[of_asked] | (of_asked < 0)
        return np.asarray(fits.all(1), np.int64)

    return rule


def _regression(size: int) -> "Rule":
    """Logistic regression on how often each run of so many neighbours is there (scikit-learn's, as it comes)."""

    def rule(tokens: Tokens, classes: Answers, asked: Tokens) -> Answers:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=2_000).fit(_counts(tokens, size), classes)
        found: Answers = model.predict(_counts(asked, size))
        return found

    return rule


def _runs(tokens: Tokens, size: int) -> Tokens:
    """[N, L - size + 1], a number for every run of neighbours; -1 where padding begins."""
    width = tokens.shape[1] - size + 1
    parts = [tokens[:, start : start + width] for start in range(size)]
    code = np.zeros_like(parts[0])
    for part in parts:
        code = code * VOCABULARY + part
    return np.where(parts[-1] > 0, code, -1)


def _counts(tokens: Tokens, size: int) -> Any:
    """[N, runs] sparse, how often each run of neighbours is there."""
    from scipy.sparse import csr_array

    codes = _runs(tokens, size)
    row, column = np.nonzero(codes >= 0)
    ones = np.ones(len(row))
    return csr_array((ones, (row, codes[row, column])), shape=(len(tokens), VOCABULARY**size))


def _ends(tokens: Tokens, size: int = 4) -> list[bytes]:
    """The last letters of each string."""
    places = np.maximum(lengths(tokens)[:, None] - np.arange(size, 0, -1), 0)
    return [row.tobytes() for row in np.take_along_axis(tokens, places, 1)]


Rule = Callable[[Tokens, Answers, Tokens], Answers]
BASELINES: dict[str, Rule] = {
    "length alone": _lookup(lambda tokens: lengths(tokens).tolist()),
    "a letter never seen in right strings": _only_seen(1),
    "logistic regression on letter counts": _regression(1),
    "last four letters": _lookup(_ends),
    "all letter pairs seen in right strings": _only_seen(2),
    "logistic regression on letter pairs": _regression(2),
    "all letter triples seen in right strings": _only_seen(3),
}
"""The rules by name: each takes training tokens [N, L] and classes [N] and answers for tokens [M, L]."""


def reber_baselines(data: Data) -> list[Baseline]:
    """The rules' accuracies on the test split of a Reber set, learnt from the training and validation splits.

    Raises:
        DataError: the data are no strings of letters with two classes.
    """
    tokens_only = data.inputs.form == "tensor" and data.inputs.dtypes[""] == "int64" and len(data.input_shape) == 1
    if not tokens_only or data.classes != 2:
        raise DataError(
            f"{data.name} holds no strings with two classes: these rules are for Reber sets such as 'reber'"
        )
    train, validation, (asked, classes) = (_arrays(split) for split in (data.train, data.validation, data.test))
    tokens, answers = (np.concatenate(pair) for pair in zip(train, validation, strict=True))
    if min(tokens.min(), asked.min()) < 0 or max(tokens.max(), asked.max()) >= VOCABULARY:
        raise DataError(f"{data.name} has tokens beyond 0 to {VOCABULARY - 1}: these rules are for Reber sets")
    return [Baseline(name, float((rule(tokens, answers, asked) == classes).mean())) for name, rule in BASELINES.items()]


def _arrays(split: Any) -> tuple[Tokens, Answers]:
    batches: list[tuple[Tensor, Tensor]] = [(inputs, labels) for inputs, labels in split.batches(4096)]
    return (
        torch.cat([inputs for inputs, _ in batches]).numpy().astype(np.int64),
        torch.cat([labels for _, labels in batches]).numpy().astype(np.int64),
    )
