"""Bounds on what commands may be asked for, known to who asks and to who answers."""

from typing import Final

MAX_LIST: Final = 1000  # rows of one list: some 300 KiB on the control socket
MAX_LINE_BYTES: Final = 1 << 20  # of a request on it; the longest argument is a certificate
MAX_NUMBER: Final = (1 << 63) - 1  # no row of the store has a larger one: a list begins behind it
