"""Delivery: nothing is lost, nothing is slow, nothing breaks the job.

A span goes to a local journal first, then to each destination in the background. ``Delivery`` is the span processor,
``recover`` delivers what dead processes left, ``waiting`` and ``dead_letters`` tell what there is.
"""

from __future__ import annotations

from dbbtrace.delivery.deadletter import DeadLetter, dead_letters
from dbbtrace.delivery.delivery import Delivery
from dbbtrace.delivery.durable import DurableSpanProcessor
from dbbtrace.delivery.lane import Destination
from dbbtrace.delivery.recovery import Recovered, Waiting, recover, resend_dead_letters, waiting

__all__ = [
    "DeadLetter",
    "Delivery",
    "Destination",
    "DurableSpanProcessor",
    "Recovered",
    "Waiting",
    "dead_letters",
    "recover",
    "resend_dead_letters",
    "waiting",
]
