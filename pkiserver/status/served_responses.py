"""Looks up what is served of OCSP, for who does not care whether a server runs."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from store.errors import TableMissingError
from store.response_entries import ResponseEntry
from store.responses import ResponseTableReader


class ServedResponses:
    """Looks responses up in the table: through its writer, where this process has it open, else by itself.

    LMDB forbids to open a table twice in one process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._get: Callable[[bytes], ResponseEntry | None] | None = None

    def attach(self, get: Callable[[bytes], ResponseEntry | None]) -> None:
        """Look up there from now on."""
        self._get = get

    def get(self, key: bytes) -> ResponseEntry | None:
        """Return the response under a key, None where there is none or no table."""
        if self._get is not None:
            return self._get(key)
        try:
            with closing(ResponseTableReader(self._folder)) as table:
                return table.get(key)
        except TableMissingError:
            return None
