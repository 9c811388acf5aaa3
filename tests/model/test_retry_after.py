"""What a service means by Retry-After."""

from __future__ import annotations

import pytest

from dbbtrace.model.times import retry_after_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 2.5 ", 2.5),
        ("-1", 0.0),
        ("1e400", 86400.0),
        ("soon", None),
        ("\u00b2", None),
        ("", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 9998 07:28:00 GMT", 86400.0),
        ("Wed, 21 Oct 2015 07:28:00", None),
        ("Wed, 21 Oct 20159999999 07:28:00 GMT", None),
    ],
)
def test_retry_after_forms(value: str | None, seconds: float | None) -> None:
    """A number of seconds or a date, past ones being now; anything else says nothing."""
    assert retry_after_seconds(value) == seconds
