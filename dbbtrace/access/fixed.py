"""The identity of this process as it was at the first ``configure()``: a cell that sets AZURE_CLIENT_* later changes
nothing. Only the variables are kept here; ``credentials`` makes tokens of them."""

from __future__ import annotations

import os

__all__ = ["azure_variables", "fix_identity", "fixed"]

_fixed: dict[str, str] | None = None
"""Variables AZURE_* as they were at the first ``configure()``."""


def fix_identity() -> None:
    """Remember who azure-identity takes us for; the first call of the process counts."""
    global _fixed
    if _fixed is None:
        _fixed = azure_variables()


def fixed() -> dict[str, str]:
    """The variables AZURE_* that count."""
    return azure_variables() if _fixed is None else _fixed


def azure_variables() -> dict[str, str]:
    """The variables AZURE_* as they are now."""
    return {name: value for name, value in os.environ.items() if name.startswith("AZURE_")}
