"""A lineage as a Mermaid flowchart, for wikis and pull requests. Pure.

Names come from anywhere. Every character of a name that could mean something to Mermaid is written as its number.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbbtrace.answers.readable import moment_of, one_line
from dbbtrace.answers.things import Lineage, Thing

__all__ = ["mermaid"]

_SHAPES = {
    "table": ("[(", ")]"),
    "source": ("[/", "/]"),
    "node": ("[", "]"),
    "exposure": ("([", "])"),
    "semantic model": ("{{", "}}"),
}
_STYLES = {
    "Succeeded": "fill:#e6f4ea,stroke:#1e7e34,color:#000",
    "Failed": "fill:#fde8e8,stroke:#b91c1c,color:#000",
    "Skipped": "fill:#fff4d6,stroke:#a16207,color:#000",
    "Warned": "fill:#fff4d6,stroke:#a16207,color:#000",
    "Running": "fill:#e0f2fe,stroke:#0369a1,color:#000",
    "absent": "fill:#f3f4f6,stroke:#6b7280,color:#000,stroke-dasharray:4",
}
_PLAIN = frozenset(" _.-/")


def mermaid(found: Lineage) -> str:
    """The flowchart, from left to right: tables first, semantic models last."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Lineage) -> Iterator[str]:
    yield "flowchart LR"
    numbers = {name: f"n{number}" for number, name in enumerate(found.things)}
    for name, thing in found.things.items():
        begin, end = _SHAPES[thing.kind]
        yield f'    {numbers[name]}{begin}"{_label(thing)}"{end}'
    for name, thing in found.things.items():
        for above in thing.reads:
            if above in numbers:
                yield f"    {numbers[above]} --> {numbers[name]}"
    for style, text in _STYLES.items():
        named = [numbers[name] for name, thing in found.things.items() if _style(thing) == style]
        if named:
            yield f"    classDef {style} {text}"
            yield f"    class {','.join(named)} {style}"


def _style(thing: Thing) -> str | None:
    if thing.status is None:
        return None if thing.kind == "source" else "absent"
    return thing.status if thing.status in _STYLES else None


def _label(thing: Thing) -> str:
    text = _escaped(one_line(thing.label))
    if thing.age is not None and thing.age.last_success is not None:
        return f"{text}<br/>of {_escaped(moment_of(thing.age.last_success))} UTC"
    return text if thing.status in (None, "Succeeded") else f"{text}<br/>{_escaped(one_line(thing.status))}"


def _escaped(text: str) -> str:
    """Letters and digits as they are, everything else by its number: no quote, bracket or directive is left."""
    return "".join(
        letter if letter.isalnum() or letter in _PLAIN else f"#{ord(letter)};" for letter in text or "(no name)"
    )
