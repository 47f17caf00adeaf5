"""The one place that asks what time it is; and how a moment is written."""

from datetime import UTC, datetime


class Clock:
    """Tells the time as aware UTC in whole seconds; tests give another one."""

    def now(self) -> datetime:
        """Return the present moment, aware UTC, whole seconds."""
        return datetime.now(UTC).replace(microsecond=0)


def utc_text(moment: datetime) -> str:
    """Return a moment, aware UTC, as RFC 3339 has it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
