"""Lays out cells to fit a width, as a table or as a block of lines for each row. The cells must be safe already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dbbtrace.cli.text import middle_cut

__all__ = ["block_lines", "print_table", "table_lines"]

_NARROWEST = 8
"""Columns that a cell is narrowed to at most."""


def table_lines(
    names: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool], width: int
) -> list[str] | None:
    """The names, a rule and the rows. The widest columns are cut until all fit; None if too little would remain.

    Args:
        right: the columns that are aligned right.
        width: the total width.
    """
    from rich.cells import cell_len

    wanted = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    widths = _fitted(wanted, width - 2 * (len(names) - 1))
    if widths is None:
        return None
    return [_line(row, widths, right) for row in (names, ["-" * column for column in widths], *cells)]


def _fitted(wanted: Sequence[int], width: int) -> list[int] | None:
    """The widths. The widest are narrowed until all fit; None if they can't fit."""
    if sum(min(column, _NARROWEST) for column in wanted) > width:
        return None
    limit = max(wanted, default=0)
    while sum(min(column, limit) for column in wanted) > width:
        limit -= 1
    widths = [min(column, limit) for column in wanted]
    for place, column in enumerate(wanted):  # the remaining width goes to the narrowed columns, from the left
        widths[place] += min(column - widths[place], width - sum(widths))
    return widths


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    from rich.cells import cell_len

    parts = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        text = middle_cut(cell, width)
        space = " " * (width - cell_len(text))
        parts.append(space + text if to_right else text + space)
    return "  ".join(parts).rstrip()


def block_lines(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Each row as lines ``name  value``."""
    label = max(map(len, names))
    for number, row in enumerate(cells, 1):
        yield f"-- row {number} ".ljust(min(width, 40), "-")
        for name, cell in zip(names, row, strict=True):
            yield f"{name:{label}}  {middle_cut(cell, max(width - label - 2, 20))}".rstrip()


def print_table(names: Sequence[str], cells: Sequence[Sequence[str]], right: Iterable[int]) -> None:
    """Print the rows in the terminal's width. ``right``: the columns that are aligned right."""
    import click

    from dbbtrace.cli.common import console

    to_right = [place in set(right) for place in range(len(names))]
    width = console().width
    for line in table_lines(names, cells, to_right, width) or block_lines(names, cells, width):
        click.echo(line)
