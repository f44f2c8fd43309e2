"""Hydra's overrides as text: their keys, and values written so that its grammar takes them for themselves."""

from __future__ import annotations

import re
from typing import Any

# Unquoted values that Hydra reads as a number, a bool or null.
VALUE = re.compile(r"[+-]?(?:\d[\d_]*\.?|\.\d)[\d_]*(?:e[+-]?\d+)?|true|false|null|nan|[+-]?inf", re.IGNORECASE)
BUNDLES = ("arm", "experiment")  # groups whose files choose other groups' options


def key_of(override: str) -> str:
    """Its key, without what adds or deletes it and without a package: `stage.epochs` for `+stage.epochs=3`."""
    return override.lstrip("+~").split("=")[0].split("@")[0]


def root(override: str) -> str:
    """The first name of its key: `stage` for `stage.learning_rate=1e-4`."""
    return key_of(override).split(".")[0]


def quoted(value: str) -> str:
    """Quote a text, if necessary, so that Hydra's override grammar reads it as one value."""
    if re.fullmatch(r"[\w./:@+-]+", value, re.ASCII) and not VALUE.fullmatch(value):
        return value
    escaped = re.sub(r"(\\*)'", lambda found: 2 * found.group(1) + r"\'", value)
    escaped = re.sub(r"(\\+)\Z", lambda found: 2 * found.group(1), escaped)
    return literal(f"'{escaped}'")


def literal(value: str) -> str:
    """Escape a text so that OmegaConf does not interpolate `${` in it."""
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found.group(1) + r"\${", value)


def written(value: Any) -> str:
    """A config value in the syntax of an override."""
    return quoted(value) if isinstance(value, str) else "null" if value is None else str(value)
