"""Values as people read them, and hostile text made harmless."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dbbtrace.cli.text import bytes_of, count_of, duration_of, end_cut, middle_cut, moment_of, one_line, safe, wrapped
from tests.cli.support import HOSTILE, HOSTILE_SHOWN


def test_hostile_text_shows_as_text() -> None:
    """Escape codes, line ends and direction marks are spelled out; everything else stays as it is."""
    assert safe(HOSTILE) == HOSTILE_SHOWN
    assert safe("Zürich 東京 [bold]x[/]") == "Zürich 東京 [bold]x[/]"


@given(st.text(st.characters()))
def test_nothing_that_a_terminal_obeys_gets_through(text: str) -> None:
    """Whatever the text, what is shown has no control, format or surrogate character, and can be encoded."""
    shown = safe(text)
    shown.encode("utf-8")
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_one_line() -> None:
    """White space, line ends too, becomes one space."""
    assert one_line("  a\n\tb\r\n c\x1b ") == r"a b c\x1b"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (-3, "0.00 s"),
        (0, "0.00 s"),
        (0.049, "0.05 s"),
        (9.99, "9.99 s"),
        (9.999, "10.0 s"),
        (99.94, "99.9 s"),
        (99.96, "1 min 40 s"),
        (3599.4, "59 min 59 s"),
        (3599.7, "1 h 00 min"),
        (7440, "2 h 04 min"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    """Two digits below ten seconds, then ever coarser; never sixty of anything."""
    assert duration_of(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, ""),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_175_040, "9.2 MB"),
        (31_053_850, "31 MB"),
        (10**15, "1.0 PB"),
        (2**63 - 1, "9.2 EB"),
    ],
)
def test_bytes(number: int | None, shown: str) -> None:
    """Decimal units, two digits that count."""
    assert bytes_of(number) == shown


def test_counts_and_moments() -> None:
    """Thousands are set apart; times are UTC whatever zone they come in; what is unknown is empty."""
    assert count_of(336776) == "336,776"
    assert count_of(None) == ""
    noon = datetime(2026, 11, 24, 12, 0, 0, 999999, timezone(timedelta(hours=2)))
    assert moment_of(noon) == "2026-11-24 10:00:00"
    assert moment_of(datetime(2026, 11, 24, 12)) == "2026-11-24 12:00:00"
    assert moment_of(None) == ""


@given(st.text(), st.integers(0, 30))
def test_a_cut_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    """However wide its letters, a cut text takes at most the width, and what fits is not cut."""
    text = safe(text)
    cut = middle_cut(text, width)
    assert cell_len(cut) <= width
    if cell_len(text) <= width:
        assert cut == text
    elif width >= 5 and text.isascii():
        assert cut[0] == text[0]
        assert cut[-1] == text[-1]


@given(st.text(), st.integers(0, 30))
def test_a_sentence_that_is_cut_keeps_its_start(text: str, width: int) -> None:
    """It takes at most the width, what fits is not cut, and what was cut says so."""
    text = safe(text)
    cut = end_cut(text, width)
    assert cell_len(cut) <= width
    if cell_len(text) <= width:
        assert cut == text
    elif width and text.isascii():
        assert cut.endswith("…")
        assert text.startswith(cut[:-1])


def test_long_text_is_wrapped() -> None:
    """A message keeps its own lines, is wrapped at the width, and is marked where it is cut."""
    message = (
        "Runtime Error in model x\n\n  Catalog Error: Table with name weather does not exist!\r\n  LINE 1: \x1b[0m"
    )
    assert wrapped(message, 40, None) == [
        "Runtime Error in model x",
        "  Catalog Error: Table with name weather",
        "does not exist!",
        r"  LINE 1: \x1b[0m",
    ]
    assert wrapped(message, 40, 2) == ["Runtime Error in model x", "  Catalog Error: Tab…with name weather …"]
