"""The one place that asks what time it is."""

from datetime import UTC, datetime


class Clock:
    """Tells the time as aware UTC in whole seconds; tests give another one."""

    def now(self) -> datetime:
        """Return the present moment, aware UTC, whole seconds."""
        return datetime.now(UTC).replace(microsecond=0)
