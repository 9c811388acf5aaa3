"""Prometheus' text format, version 0.0.4: metrics as lines. Knows nothing of what they measure, and keeps nothing.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["CONTENT_TYPE", "Family", "Histogram", "text_of"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass
class Family:
    """One metric with its samples."""

    name: str
    kind: str
    """counter, gauge or histogram."""
    help: str
    samples: list[tuple[str, Mapping[str, str], float]] = field(default_factory=list)
    """What follows the name, the labels, the value."""

    def add(self, value: float, **labels: str) -> Family:
        """One more sample."""
        self.samples.append(("", labels, value))
        return self


class Histogram:
    """Counts durations by how long they took. Callers make sure that two threads do not change it at once."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)
        self._sum, self._count = 0.0, 0

    def observe(self, value: float) -> None:
        """One more."""
        self._sum += value
        self._count += 1
        for place, bound in enumerate(self._bounds):
            if value <= bound:
                self._counts[place] += 1

    def family(self, name: str, said: str) -> Family:
        """As a metric."""
        found = Family(name, "histogram", said)
        for bound, count in zip(self._bounds, self._counts, strict=True):
            found.samples.append(("_bucket", {"le": _number(bound)}, count))
        found.samples.append(("_bucket", {"le": "+Inf"}, self._count))
        found.samples += [("_sum", {}, self._sum), ("_count", {}, self._count)]
        return found


def text_of(families: Iterable[Family]) -> bytes:
    """The body of an answer."""
    return "".join(line + "\n" for family in families for line in _lines(family)).encode("utf-8", "replace")


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {family.kind}"
    for suffix, labels, value in family.samples:
        said = ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels.items())
        yield f"{family.name}{suffix}{'{' + said + '}' if said else ''} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
