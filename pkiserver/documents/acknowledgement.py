"""The holder's acknowledgement of what was explained at the hand-over (regulation 2.7), as PDF."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reportlab.platypus import KeepTogether

from pkiserver.documents.explanations import Explained
from pkiserver.documents.page import BODY, HEADING, TITLE, Flow, by_hand, fields, pages, paragraph, space
from pkiserver.documents.words import ACKNOWLEDGEMENT, Language, words


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class Acknowledgement:
    """Who acknowledged what; `acknowledged_at` is printed in the zone that it is given in."""

    application: int
    parent_name: str
    given_name: str
    register_number: str
    serial: str
    carrier: str  # id_card, token or mobile
    text_version: str
    explained: tuple[Explained, ...]
    acknowledged_at: datetime
    registrar: str


def acknowledgement_pdf(acknowledgement: Acknowledgement, language: Language) -> bytes:
    """Return the acknowledgement as PDF: the same one, the same octets."""
    said = words(ACKNOWLEDGEMENT, language)
    title = f"{said['title']} · {acknowledgement.application}"
    return pages(title, language, title, lambda: _flow(acknowledgement, said))


def _flow(acknowledgement: Acknowledgement, said: dict[str, str]) -> Flow:
    at = acknowledgement.acknowledged_at.isoformat(sep=" ", timespec="minutes")
    rows = {
        "application": str(acknowledgement.application),
        "holder": f"{acknowledgement.parent_name} {acknowledgement.given_name}",
        "register_number": acknowledgement.register_number,
        "serial": acknowledgement.serial,
        "carrier": said[acknowledgement.carrier],
        "registrar": acknowledgement.registrar,
        "acknowledged_at": at,
        "text_version": acknowledgement.text_version,
    }
    return [
        paragraph(said["title"], TITLE),
        fields([(said[name], value) for name, value in rows.items()]),
        space(4),
        paragraph(said["intro"], BODY),
        *(_explained(number, one) for number, one in enumerate(acknowledgement.explained, start=1)),
        space(4),
        by_hand((said["holder_signature"], said["registrar_signature"], said["date"])),
    ]


def _explained(number: int, one: Explained) -> Any:
    return KeepTogether([paragraph(f"☑ {number}. {one.title}", HEADING), paragraph(one.text, BODY)])
