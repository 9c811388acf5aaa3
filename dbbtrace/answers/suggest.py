"""What to write instead of a name that is unknown. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from dbbtrace.errors import UsageError

__all__ = ["check_known", "suggestion"]

_SHOWN = 8


def suggestion(wanted: str, known: Iterable[str]) -> str:
    """``; did you mean Group-Sales?``; where nothing is similar, what there is."""
    from difflib import get_close_matches

    names = {name.lower(): name for name in sorted(known)}
    close = get_close_matches(wanted.lower(), names, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(names[name] for name in close)}?"
    shown = sorted(names.values())
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"; known: {', '.join(shown[:_SHOWN])}{more}" if shown else ""


def check_known(what: str, wanted: str, known: Iterable[str]) -> None:
    """Whether the name is known, whatever its case.

    Raises:
        UsageError: it is not; the message says what may be meant.
    """
    names = sorted(known)
    if wanted.lower() not in {name.lower() for name in names}:
        raise UsageError(f"no {what} {wanted!r}{suggestion(wanted, names)}")
