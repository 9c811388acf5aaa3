"""Delivery: nothing is lost, nothing is slow, nothing breaks the job.

A span goes to a local journal first, then to each destination in the background. ``Delivery`` is the span processor,
``recover`` delivers what dead processes left, ``waiting`` and ``dead_letters`` tell what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbbtrace.delivery.processor import Delivery
from dbbtrace.delivery.sink import Destination

if TYPE_CHECKING:
    from dbbtrace.delivery.dead_letter import DeadLetter, damaged_lines, dead_letters
    from dbbtrace.delivery.durable import DurableSpanProcessor
    from dbbtrace.delivery.recovery import Recovered, recover, resend_dead_letters
    from dbbtrace.journal.inventory import Waiting, set_aside, waiting

__all__ = [
    "DeadLetter",
    "Delivery",
    "Destination",
    "DurableSpanProcessor",
    "Recovered",
    "Waiting",
    "damaged_lines",
    "dead_letters",
    "recover",
    "resend_dead_letters",
    "set_aside",
    "waiting",
]

_ON_FIRST_USE = {
    "DeadLetter": "delivery.dead_letter",
    "DurableSpanProcessor": "delivery.durable",
    "Recovered": "delivery.recovery",
    "Waiting": "journal.inventory",
    "damaged_lines": "delivery.dead_letter",
    "dead_letters": "delivery.dead_letter",
    "recover": "delivery.recovery",
    "resend_dead_letters": "delivery.recovery",
    "set_aside": "journal.inventory",
    "waiting": "journal.inventory",
}
"""What a job that delivers its own spans does not need."""


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"dbbtrace.{_ON_FIRST_USE[name]}"), name)
    globals()[name] = value
    return value
