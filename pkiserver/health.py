"""What readiness is told in: one `Cause` for each thing that must be right before the server is of use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """One condition of readiness, for `/ready`, metrics and `doctor`.

    `name` is a short fixed word (it labels a metric). `detail` is one line, safe to show, and says what to
    do where `ok` is False.
    """

    name: str
    ok: bool
    detail: str = ""
