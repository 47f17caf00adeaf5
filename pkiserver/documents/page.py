"""What all documents are set with: paragraphs, tables, pages; each page bears its number and of how many."""

import io
from collections.abc import Callable, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import HRFlowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from pkiserver.documents.fonts import BOLD, REGULAR, load_fonts, shown
from pkiserver.documents.words import Language

MAX_VALUE_CHARACTERS: Final = 1000  # as printed, so that a row always fits on a page; a form allows 300
_MARGIN: Final = 18 * mm
_PADDING: Final = 6  # of reportlab's frame, in points
_LEFT: Final = _MARGIN + _PADDING
WIDTH: Final = A4[0] - 2 * _LEFT
_NAME: Final = 62 * mm
CELLS: Final = [  # of every table: reportlab's own font would not be embedded
    ("FONTNAME", (0, 0), (-1, -1), REGULAR),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
]
_GRID: Final = TableStyle(
    [
        *CELLS,
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ]
)
_BY_HAND: Final = TableStyle(
    [
        *CELLS,
        ("TOPPADDING", (0, 0), (-1, 0), 9 * mm),  # room for a hand
        ("LINEBELOW", (0, 0), (0, 0), 0.5, colors.black),
        ("LINEBELOW", (2, 0), (2, 0), 0.5, colors.black),
        ("LINEBELOW", (4, 0), (4, 0), 0.5, colors.black),
        ("TOPPADDING", (0, 1), (-1, 1), 1),
    ]
)
BODY: Final = ParagraphStyle("body", fontName=REGULAR, fontSize=9, leading=12, splitLongWords=True)
SMALL: Final = ParagraphStyle("small", BODY, fontSize=7.5, leading=10, textColor=colors.HexColor("#444444"))
STRONG: Final = ParagraphStyle("strong", BODY, fontName=BOLD)
HEADING: Final = ParagraphStyle("heading", STRONG, fontSize=10, leading=13, spaceBefore=7, keepWithNext=True)
TITLE: Final = ParagraphStyle("title", STRONG, fontSize=13, leading=17, alignment=1, spaceAfter=6)

Flow = list[Any]  # of reportlab's flowables, which have no types


def paragraph(text: str, style: ParagraphStyle = BODY) -> Any:
    """Return a text as a paragraph that wraps, long words too; of a longer one the beginning."""
    visible = shown(text)
    if len(visible) > MAX_VALUE_CHARACTERS:
        visible = f"{visible[:MAX_VALUE_CHARACTERS]}… [+{len(visible) - MAX_VALUE_CHARACTERS}]"
    return Paragraph(escape(visible), style)


def fields(rows: Sequence[tuple[str, str]], width: float = WIDTH, name: float = _NAME) -> Any:
    """Return a table of names and values; an empty value is a dash, so that nothing is written there."""
    cells = [[paragraph(label, SMALL), paragraph(value or "—", BODY)] for label, value in rows]
    return Table(cells, colWidths=(name, width - name), style=_GRID, hAlign="LEFT")


def by_hand(labels: tuple[str, str, str]) -> Any:
    """Return three lines to be written on, each with what belongs there beneath it."""
    gap = 6 * mm
    column = (WIDTH - 2 * gap) / 3
    first, second, third = (paragraph(label, SMALL) for label in labels)
    lines = [["", "", "", "", ""], [first, "", second, "", third]]
    return Table(lines, colWidths=(column, gap, column, gap, column), style=_BY_HAND, hAlign="LEFT")


def cut_line() -> Any:
    """Return the line along which a part is torn off."""
    return HRFlowable(width="100%", thickness=0.6, color=colors.black, dash=(4, 3), spaceBefore=6)


def space(millimetres: float) -> Any:
    """Return so much room."""
    return Spacer(1, millimetres * mm)


def pages(title: str, language: Language, footer: str, flow: Callable[[], Flow]) -> bytes:
    """Return a flow as PDF; the same flow gives the same octets. It is asked for twice, to know the pages."""
    load_fonts()
    _, count = _built(title, language, footer, flow(), None)
    return _built(title, language, footer, flow(), count)[0]


def _built(title: str, language: Language, footer: str, flow: Flow, count: int | None) -> tuple[bytes, int]:
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        title=shown(title),
        author="pkiserver",
        lang=language,
        initialFontName=REGULAR,  # reportlab's own choice would not be embedded
        invariant=True,  # no date, no random number
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=14 * mm,
        bottomMargin=16 * mm,
    )

    def at_foot(canvas: Canvas, _document: SimpleDocTemplate) -> None:
        canvas.setFont(REGULAR, 7)
        canvas.drawString(_LEFT, 9 * mm, shown(footer))
        canvas.drawRightString(A4[0] - _LEFT, 9 * mm, f"{canvas.getPageNumber()} / {count}")

    document.build(flow, onFirstPage=at_foot, onLaterPages=at_foot)
    return out.getvalue(), document.page
