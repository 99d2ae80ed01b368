"""The identity of a run: stable, sensitive to every setting, blind to their order."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayesprune
from bayesprune.errors import SettingError
from bayesprune.store.identity import canonical_json, run_id

SETTINGS: dict[str, Any] = {"network": "lenet5", "seed": 3, "price": 0.1, "keep": ["fc2"], "budget": None}


def test_the_identity_is_the_hash_of_this_text() -> None:
    text = (
        '{"settings":{"budget":null,"keep":["fc2"],"network":"lenet5","price":0.1,"seed":3},"version":"'
        + bayesprune.__version__
        + '"}'
    )
    assert run_id(SETTINGS) == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_the_order_of_keys_and_tuples_for_lists_change_nothing() -> None:
    reordered = {key: SETTINGS[key] for key in reversed(SETTINGS)} | {"keep": ("fc2",)}
    assert run_id(reordered) == run_id(SETTINGS)


@pytest.mark.parametrize(
    "change",
    [{"seed": 4}, {"seed": 3.0}, {"seed": "3"}, {"price": 0.1 + 2**-56}, {"new": None}, {"budget": 0}],
)
def test_every_setting_counts(change: dict[str, Any]) -> None:
    assert run_id(SETTINGS | change) != run_id(SETTINGS)


def test_the_version_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = run_id(SETTINGS)
    monkeypatch.setattr(bayesprune, "__version__", "99.0")
    assert run_id(SETTINGS) == run_id(SETTINGS, version="99.0") != now


@pytest.mark.parametrize("bad", [math.nan, math.inf, {1, 2}, b"x", np.float32(1.0), {"x": {1: 2}}, object()])
def test_what_is_not_json_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(SettingError, match=r"key .settings\.price"):
        run_id({"price": bad})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values, json_values)
def test_canonical_texts_are_equal_only_for_equal_values(first: Any, second: Any) -> None:
    assert (canonical_json(first) == canonical_json(second)) == (repr_sorted(first) == repr_sorted(second))


def repr_sorted(value: Any) -> str:
    """Another spelling that tells types and values apart."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}={repr_sorted(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(repr_sorted, value)) + "]"
    return repr(value)
