"""What can go wrong, split on the question that callers ask: does trying again help?

    DbbtraceError
    ├── UsageError           the caller's input is wrong; the message names the value and the fix
    ├── TransientError       the other side can't now: try again later (``retry_after``)
    ├── DbtError             dbt failed; raised only where the job asks for it (``check=True``)
    ├── RefreshError         a model was not refreshed; raised only where the job asks for it (``check=True``)
    ├── RunFailedError       the run that was imported or closed failed; raised only where that was asked for
    ├── GateClosed           something that is to be read did not arrive; raised only by ``gate``
    └── TerminalError        trying the same again can't help
        ├── ConfigurationError   permission, missing table, missing package: a person must act;
        │   │                    nothing was refused, so nothing is set aside
        │   └── LoginError       login, token: not tried again before somebody has acted
        └── RefusedError         the backend will never take this payload: bisect, then set aside

Inside a job none of these is raised, unless it asks for ``RunFailedError`` or ``GateClosed``: there they become one log
line (see ``diagnostics.guard``).
"""

from __future__ import annotations

from dbbtrace.model.masking import masked

__all__ = [
    "ConfigurationError",
    "DbbtraceError",
    "DbtError",
    "GateClosed",
    "LoginError",
    "RefreshError",
    "RefusedError",
    "RunFailedError",
    "TerminalError",
    "TransientError",
    "UsageError",
]


class DbbtraceError(Exception):
    """Base of all errors that dbbtrace raises on purpose. Secrets in its message are masked."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(masked(each) if isinstance(each, str) else each for each in arguments))


class UsageError(DbbtraceError, ValueError):
    """Input that makes no sense; the message names the value and says what to do instead."""


class DbtError(DbbtraceError):
    """dbt failed, or one of its nodes did."""


class RefreshError(DbbtraceError):
    """A semantic model was not refreshed."""


class TransientError(DbbtraceError):
    """The backend can't take this now.

    Args:
        message: what happened, without secrets.
        retry_after: seconds the backend asked us to wait; None when it did not say.
        ambiguous: True when the payload may have been stored all the same (a connection lost during a write).
    """

    def __init__(self, message: str, *, retry_after: float | None = None, ambiguous: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.ambiguous = ambiguous


class RunFailedError(DbbtraceError):
    """The run failed: for the activity that closes a pipeline, which must end as the pipeline did."""


class GateClosed(DbbtraceError):  # noqa: N818  (what it is called where it is caught)
    """Something that is to be read did not arrive, or nobody can tell yet.

    Args:
        message: what, and why.
        exit_code: 1: it did not arrive. 2: nobody knows the run. 3: more may still come.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class TerminalError(DbbtraceError):
    """Trying the same again can't help."""


class ConfigurationError(TerminalError):
    """Wrong login, right, address, table or missing package. A person must act; the payload itself is fine."""


class LoginError(ConfigurationError):
    """Wrong login or token. Many attempts lock an account: there is none before somebody has acted."""


class RefusedError(TerminalError):
    """The backend refuses this payload for good: the caller may split it, and set aside what is refused alone."""
