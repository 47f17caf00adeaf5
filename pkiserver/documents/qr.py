"""QR codes (ISO/IEC 18004) as drawings of a page."""

from typing import Any, Final

import segno
from reportlab.graphics.shapes import Drawing, Rect

from pkiserver.documents.fonts import REGULAR

_QUIET_MODULES: Final = 4  # ISO/IEC 18004 §9.1: light on each side
MAX_URL_CHARACTERS: Final = 300  # stays readable in print: fewer than 80 modules a side


def qr_drawing(url: str, side: float) -> Any:
    """Return a code that leads to `url`, with its quiet zone, `side` points wide and high.

    A quarter of it may be soiled (level Q); `ValueError` for a longer URL than is readable in print.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise ValueError(f"a QR code holds a URL of {MAX_URL_CHARACTERS} characters at most")
    matrix = segno.make_qr(url, error="q", boost_error=False).matrix
    module = side / (len(matrix) + 2 * _QUIET_MODULES)
    drawing = Drawing(side, side, initialFontName=REGULAR)  # its own choice would not be embedded
    for y, row in enumerate(matrix):
        for x, length in _dark_runs(row):
            left, bottom = (x + _QUIET_MODULES) * module, side - (y + 1 + _QUIET_MODULES) * module
            drawing.add(Rect(left, bottom, length * module, module, strokeWidth=0, strokeColor=None))
    return drawing


def _dark_runs(row: bytearray) -> list[tuple[int, int]]:
    """Return (start, length) of each run of dark modules in a row."""
    runs: list[tuple[int, int]] = []
    for x, dark in enumerate(row):
        if dark and runs and sum(runs[-1]) == x:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        elif dark:
            runs.append((x, 1))
    return runs
