"""Splitting examples in two so that every class is represented in both in proportion."""

import numpy as np
import numpy.typing as npt

from bayesprune.errors import DataError, SettingError

Indices = npt.NDArray[np.int64]


def split_off(labels: Indices, count: int, seed: int, what: str) -> tuple[Indices, Indices]:
    """Choose `count` examples, stratified over classes, by a seed.

    Args:
        labels: [N] class of every example.
        count: how many to split off.
        seed: decides which; the same seed chooses the same examples with every version of numpy.
        what: what is split off, for messages, e.g. "validation".

    Returns:
        Positions of the examples that stay and of those split off, each in ascending order.

    Raises:
        DataError: fewer examples than asked for, or none would stay.
        SettingError: a seed that is no whole number from 0 to 2^32 - 1.
    """
    total = len(labels)
    if not 0 < count < total:
        raise DataError(
            f"cannot split {count:,} {what} examples off {total:,}: between 1 and {total - 1:,} are possible"
        )
    check_seed(seed)
    # RandomState and not default_rng: numpy promises never to change its stream, and splits must stay what
    # they are.
    order = np.random.RandomState(seed).permutation(total)
    names, members = np.unique(labels, return_inverse=True)
    quotas = _quotas(np.bincount(members, minlength=len(names)), count)
    taken = np.sort(np.concatenate([order[members[order] == k][:quota] for k, quota in enumerate(quotas)]))
    stays = np.ones(total, dtype=bool)
    stays[taken] = False
    return np.flatnonzero(stays).astype(np.int64), taken.astype(np.int64)


def check_seed(seed: int) -> None:
    """Refuse a split seed that the generator cannot take.

    Raises:
        SettingError: names the seed and the range.
    """
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not (whole and 0 <= seed < 2**32):
        raise SettingError(f"the split seed is {seed!r}; it must be a whole number between 0 and {2**32 - 1}")


def _quotas(sizes: Indices, count: int) -> list[int]:
    """Largest remainders: shares of `count` in proportion to the class sizes that add up to it exactly."""
    exact = sizes * (count / sizes.sum())
    quotas = np.floor(exact).astype(np.int64)
    rest = count - int(quotas.sum())
    quotas[np.argsort(-(exact - quotas), kind="stable")[:rest]] += 1
    return [int(quota) for quota in quotas]
