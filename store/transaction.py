"""What a function of `store` sees of a transaction, on any engine."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

Value = int | str | bytes | None


class Transaction(Protocol):
    """What a store function may do inside a transaction, on any engine."""

    @property
    def memo(self) -> dict[str, Any]:
        """What store functions keep of what they wrote in this transaction, not to read it again.

        It ends with the transaction: what is undone is forgotten.
        """

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement; return the number of rows it changed."""

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement once for each row of parameters."""

    def one(self, sql: str, parameters: Sequence[Value] = ()) -> tuple[Any, ...] | None:
        """Return the first row, or None."""

    def all(self, sql: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Return all rows."""
