"""The name of a run: a hash of everything that decides its outcome, so that it is never run twice."""

import hashlib
import json
from collections.abc import Mapping

from bayesprune.errors import SettingError
from bayesprune.store.json_values import JSON, plain_json

IDENTITY_LENGTH = 12


def canonical_json(value: JSON) -> str:
    """`value` as JSON in one form only: keys sorted, no white space, floats by `repr`, ASCII.

    Raises:
        SettingError: something in `value` is not JSON (NaN and infinities are not).
    """
    try:
        return json.dumps(plain_json(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise SettingError(f"settings cannot be written as JSON: {error}") from error


_DECIDES_NOTHING = ("threads", "device", "precision")
_NAMES_DATA = ("data", "transfer_data")


def deciding(settings: Mapping[str, JSON]) -> dict[str, JSON]:
    """The settings that decide a run's result: names of files give way to hashes of their content.

    How many threads compute a run is no part of it, nor on what device and in which precision, nor where its data and
    weights lie. Settings of 0.1.0, which had no such hashes, stay as they are.
    """
    found = dict(settings)
    if "code_digest" not in found:
        return found
    for name in _DECIDES_NOTHING:
        found.pop(name, None)
    if found.get("weights_digest") is not None:
        found.pop("weights", None)
    options = found.get("options")
    if isinstance(options, Mapping):
        found["options"] = {name: _kind(name, value) for name, value in options.items()}
    return {name: _kind(name, value) for name, value in found.items()}


def _kind(name: str, value: JSON) -> JSON:
    """Of data the kind only, "npz" of "npz:FILE" and "mnist" of "mnist@5000": their fingerprint stands beside it."""
    return value.partition(":")[0].partition("@")[0] if name in _NAMES_DATA and isinstance(value, str) else value


def run_id(settings: Mapping[str, JSON], *, version: str | None = None) -> str:
    """The first 12 hexadecimal digits of SHA-256 over the canonical JSON of the deciding settings and the version.

    The order of keys does not matter; 1 and 1.0 are different settings.

    Args:
        settings: flat JSON of the run's settings.
        version: the version of bayesprune that ran it; this one if not given.

    Raises:
        SettingError: something in `settings` is not JSON (NaN and infinities are not).
    """
    if version is None:
        from bayesprune import __version__ as version  # the package's facade may import this module
    text = canonical_json({"settings": deciding(settings), "version": version})
    return hashlib.sha256(text.encode()).hexdigest()[:IDENTITY_LENGTH]
