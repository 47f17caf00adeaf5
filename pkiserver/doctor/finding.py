"""What a check found."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `detail` says what to do where it is not ok."""

    check: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON can carry it."""
        return asdict(self)
