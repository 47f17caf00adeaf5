"""The fonts of documents, which every PDF embeds, and text as they can show it."""

import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

REGULAR: Final = "DejaVuSans"
BOLD: Final = "DejaVuSans-Bold"
_FOLDER: Final = Path(__file__).with_name("ttf")
# Control and formatting characters, surrogates, private and unassigned ones, separators of lines.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# What is read from right to left would stand here the wrong way round, and tell something else.
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})


@cache
def load_fonts() -> frozenset[int]:
    """Have reportlab know the fonts; return the characters that both of them have."""
    found = []
    for name in (REGULAR, BOLD):
        font = TTFont(name, str(_FOLDER / f"{name}.ttf"))
        pdfmetrics.registerFont(font)
        found.append(frozenset(font.face.charToGlyph))
    return frozenset.intersection(*found)


def shown(text: str) -> str:
    """Return text as it is printed: what the page cannot show as it is, is shown by its number."""
    known = load_fonts()
    return "".join(
        one if _is_shown(one, known) else f"[U+{ord(one):04X}]" for one in unicodedata.normalize("NFC", text)
    )


def _is_shown(character: str, known: frozenset[int]) -> bool:
    return (
        ord(character) in known
        and unicodedata.category(character) not in _UNSEEN
        and unicodedata.bidirectional(character) not in _RIGHT_TO_LEFT
    )
