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


def run_id(settings: Mapping[str, JSON], *, version: str | None = None) -> str:
    """The first 12 hexadecimal digits of SHA-256 over the canonical JSON of settings and version.

    The order of keys does not matter; 1 and 1.0 are different settings.

    Args:
        settings: flat JSON of the run's settings.
        version: the version of bayesprune that ran it; this one if not given.

    Raises:
        SettingError: something in `settings` is not JSON (NaN and infinities are not).
    """
    if version is None:
        from bayesprune import __version__ as version  # the package's facade may import this module
    text = canonical_json({"settings": settings, "version": version})
    return hashlib.sha256(text.encode()).hexdigest()[:IDENTITY_LENGTH]
