"""The application form IUB-41 as PDF (regulation, annex 2), with the part that the citizen keeps (2.6)."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from reportlab.lib.units import mm
from reportlab.platypus import KeepTogether, Table

from pkiserver.documents.page import (
    CELLS,
    HEADING,
    SMALL,
    STRONG,
    TITLE,
    WIDTH,
    Flow,
    by_hand,
    cut_line,
    fields,
    pages,
    paragraph,
    space,
)
from pkiserver.documents.qr import qr_drawing
from pkiserver.documents.words import FORM, Language, words

_QR_SIDE: Final = 42 * mm
_NAME_CHARACTERS: Final = 131  # of a form; the part is on one page, whatever is printed


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class ApplicationForm:
    """All that stands on the form; `status_url` is where the public status of the certificate is."""

    application: int
    office: str
    aimag: str
    district: str
    register_number: str
    civil_id: str
    birth_date: date
    parent_name: str
    clan_name: str | None
    given_name: str
    address: str
    phone: str
    mail: str
    applied_on: date
    valid_from: date
    valid_until: date
    use_restricted: bool
    value_limited: bool
    limit_mnt: int | None
    entered_by: str
    serial: str
    status_url: str


def application_form_pdf(form: ApplicationForm, language: Language) -> bytes:
    """Return the form as PDF: the same form, the same octets."""
    said = words(FORM, language)
    title = f"{said['form']} · {said['application']} {form.application}"
    return pages(title, language, title, lambda: _flow(form, said))


def _flow(form: ApplicationForm, said: dict[str, str]) -> Flow:
    return [
        paragraph(said["form"], SMALL),
        paragraph(said["title"], TITLE),
        fields(_rows(form, said)),
        by_hand((said["applicant"], said["applicant_name"], said["date"])),
        paragraph(said["checked"], HEADING),
        by_hand((said["registrar"], said["registrar_name"], said["date"])),
        space(3),
        KeepTogether([cut_line(), space(1), _tear_off(form, said)]),
    ]


def _rows(form: ApplicationForm, said: dict[str, str]) -> list[tuple[str, str]]:
    values = {
        "place": f"{form.aimag}; {form.district}",
        "register_number": form.register_number,
        "civil_id": form.civil_id,
        "birth_date": form.birth_date.isoformat(),
        "parent_name": form.parent_name,
        "clan_name": form.clan_name or "",
        "given_name": form.given_name,
        "address": form.address,
        "phone": form.phone,
        "mail": form.mail,
        "applied_on": form.applied_on.isoformat(),
        "validity": _validity(form),
        "use_restricted": said["yes"] if form.use_restricted else said["no"],
        "value_limited": said["yes"] if form.value_limited else said["no"],
        "limit": _amount(form.limit_mnt, said["currency"]),
        "application": str(form.application),
        "office": form.office,
        "entered_by": form.entered_by,
        "serial": form.serial,
    }
    return [(said[name], value) for name, value in values.items()]


def _validity(form: ApplicationForm) -> str:
    return f"{form.valid_from.isoformat()} – {form.valid_until.isoformat()}"


def _amount(limit: int | None, currency: str) -> str:
    """Return an amount in groups of three digits, which do not part at the end of a line."""
    return "" if limit is None else f"{limit:,} {currency}".replace(",", "\u00a0")


def _tear_off(form: ApplicationForm, said: dict[str, str]) -> Any:
    beside = WIDTH - _QR_SIDE - 4 * mm
    rows = [
        (said["holder"], f"{form.parent_name} {form.given_name}"[:_NAME_CHARACTERS]),
        (said["application"], str(form.application)),
        (said["serial"], form.serial),
        (said["validity"].partition(" ")[2], _validity(form)),
    ]
    told = [
        paragraph(said["tear_off"], SMALL),
        paragraph(said["tear_off_title"], STRONG),
        fields(rows, beside, 34 * mm),
        space(1),
        paragraph(said["status"], SMALL),
        paragraph(form.status_url, SMALL),
    ]
    return Table(
        [[qr_drawing(form.status_url, _QR_SIDE), told]],
        colWidths=(_QR_SIDE + 4 * mm, beside),
        style=CELLS,
        hAlign="LEFT",
    )
