"""The transcript of a ceremony as PDF, to be printed and signed by hand."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from pkiserver.ceremony.transcript import Section
from pkiserver.errors import RefusedError

_WIDTHS: Final = (48 * mm, 126 * mm)
_GRID: Final = TableStyle(
    [
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]
)
_BY_HAND: Final = TableStyle(  # room for a hand
    [("VALIGN", (0, 0), (-1, -1), "BOTTOM"), ("TOPPADDING", (0, 0), (-1, -1), 9 * mm)]
)


@dataclass(frozen=True, slots=True)
class _Fonts:
    """The font of headings, of names, of values; `encoding` holds the letters that they have."""

    heading: str = "Helvetica-Bold"
    name: str = "Helvetica"
    value: str = "Courier"
    encoding: str = "latin-1"


def as_pdf(found: Sequence[Section], title: str, sha256: str, font: bytes | None = None) -> bytes:
    """Return the transcript as PDF; each page bears the SHA-256 of the ceremony's file and its number.

    All of it is in `font` where that is given; `RefusedError` where it is no TrueType font.
    """
    fonts = _Fonts() if font is None else _loaded(font)
    _, pages = _built(found, title, sha256, fonts, None)
    return _built(found, title, sha256, fonts, pages)[0]


def _built(
    found: Sequence[Section], title: str, sha256: str, fonts: _Fonts, pages: int | None
) -> tuple[bytes, int]:
    """Return the PDF and its number of pages, which each page bears: none is taken away unseen."""
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        title=title,
        invariant=True,  # the same words, the same octets
        leftMargin=18 * mm,
        rightMargin=18 * mm,
        topMargin=16 * mm,
        bottomMargin=18 * mm,
    )

    def footer(canvas: Canvas, _document: SimpleDocTemplate) -> None:
        canvas.setFont("Courier", 7)
        canvas.drawString(18 * mm, 10 * mm, f"file {sha256}")
        canvas.drawRightString(A4[0] - 18 * mm, 10 * mm, f"page {canvas.getPageNumber()} of {pages}")

    document.build(_flow(found, title, fonts), onFirstPage=footer, onLaterPages=footer)
    return out.getvalue(), document.page


def _loaded(font: bytes) -> _Fonts:
    try:
        pdfmetrics.registerFont(TTFont("transcript", io.BytesIO(font)))
    except Exception as error:  # reportlab's parser lets any error of Python out
        raise RefusedError("the transcript's font is no TrueType font that can be used") from error
    return _Fonts("transcript", "transcript", "transcript", "utf-8")


def _flow(found: Sequence[Section], title: str, fonts: _Fonts) -> list[object]:
    heading = ParagraphStyle(
        "heading", fontName=fonts.heading, fontSize=11, leading=14, spaceBefore=8, keepWithNext=True
    )
    name = ParagraphStyle("name", fontName=fonts.name, fontSize=8, leading=10)
    value = ParagraphStyle("value", fontName=fonts.value, fontSize=8, leading=10, splitLongWords=True)

    def paragraph(text: str, style: ParagraphStyle) -> Paragraph:
        # What the font lacks is shown by its number.
        shown = text.encode(fonts.encoding, "backslashreplace").decode(fonts.encoding)
        return Paragraph(escape(shown), style)

    parts: list[object] = [paragraph(title, ParagraphStyle("title", heading, fontSize=15, leading=19))]
    for section in found:
        parts.append(paragraph(section.title, heading))
        rows = [[paragraph(field, name), paragraph(told, value)] for field, told in section.fields]
        if rows:
            style = _BY_HAND if section.by_hand else _GRID
            parts.append(Table(rows, colWidths=_WIDTHS, style=style, hAlign="LEFT"))
        parts.append(Spacer(1, 2 * mm))
    return parts
