"""Documents as PDF: what stands on them is read back, and no text that somebody enters breaks them."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from shutil import which

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pkiserver.documents import words
from pkiserver.documents.acknowledgement import Acknowledgement, acknowledgement_pdf
from pkiserver.documents.decision import CaseDecision, decision_pdf
from pkiserver.documents.explanations import EXPLANATIONS, SHIPPED, explanations
from pkiserver.documents.fonts import shown
from pkiserver.documents.form import ApplicationForm, application_form_pdf
from pkiserver.documents.page import MAX_VALUE_CHARACTERS
from pkiserver.documents.qr import MAX_URL_CHARACTERS, qr_drawing
from pkiserver.documents.words import LANGUAGES, Language
from pkiserver.errors import NotFoundError, UnavailableError
from pkiserver.ra.cases.entry import EVIDENCE
from pkiserver.ra.cases.rules import GROUNDS, Channel, Kind
from pkiserver.ra.registration.application_ends import Explanation
from pkiserver.ra.registration.carriers import KINDS
from pkiserver.ra.registration.form import FIELD_NUMBERS

SERIAL = "5B1F00A2C3D4E5F60718293A4B5C6D7E"
URL = f"https://register.example.mn/register?serial={SERIAL}"
AT = datetime(2026, 7, 9, 15, 0, tzinfo=timezone(timedelta(hours=8)))
FORM = ApplicationForm(
    application=17,
    office="Сүхбаатар дүүрэг",
    aimag="Улаанбаатар",
    district="Сүхбаатар",
    register_number="УБ05231418",
    civil_id="123456789012",
    birth_date=date(2005, 3, 14),
    parent_name="Бат",
    clan_name="Боржигин",
    given_name="Өлзий",
    address="1-р хороо, Үйлдвэр гудамж 5-12",
    phone="+97699112233",
    mail="olzii@example.mn",
    applied_on=date(2026, 7, 9),
    valid_from=date(2026, 7, 10),
    valid_until=date(2031, 7, 10),
    use_restricted=False,
    value_limited=True,
    limit_mnt=5_000_000,
    entered_by="registrar-1",
    serial=SERIAL,
    status_url=URL,
)
DECISION = CaseDecision(
    case=7,
    kind="suspend",
    channel="authority",
    ground="authority_decision",
    holder="Бат Өлзий",
    serial=SERIAL,
    office="Сүхбаатар дүүрэг",
    lifts=None,
    evidence={"body": "Прокурорын газар", "number": "17", "date": "2026-07-08", "document": "scan-88"},
    received_at=AT,
    due_at=AT + timedelta(days=7),
    granted=True,
    why="эх хувьтай тулгасан",
    decided_at=AT + timedelta(hours=1),
    decided_by="legal-2",
    entered_by="legal-1",
)


def acknowledgement(language: Language) -> Acknowledgement:
    return Acknowledgement(
        application=17,
        parent_name="Бат",
        given_name="Өлзий",
        register_number="УБ05231418",
        serial=SERIAL,
        carrier="id_card",
        text_version="2026-1",
        explained=explanations([SHIPPED], "2026-1", language),
        acknowledged_at=AT,
        registrar="registrar-1",
    )


MADE: dict[str, Callable[[Language], bytes]] = {
    "form": lambda language: application_form_pdf(FORM, language),
    "acknowledgement": lambda language: acknowledgement_pdf(acknowledgement(language), language),
    "decision": lambda language: decision_pdf(DECISION, language),
}
# What stands on each, in either language.
TOLD = {
    "form": [
        "УБ05231418",
        "123456789012",
        "2005-03-14",
        "Улаанбаатар; Сүхбаатар",
        "Бат",
        "Боржигин",
        "Өлзий",
        "1-р хороо, Үйлдвэр гудамж 5-12",
        "+97699112233",
        "olzii@example.mn",
        "2026-07-09",
        "2026-07-10 – 2031-07-10",
        "5 000 000",
        "registrar-1",
        SERIAL,
        URL,
    ],
    "acknowledgement": ["Бат Өлзий", "УБ05231418", SERIAL, "2026-1", "2026-07-09 15:00+08:00", "registrar-1"],
    "decision": [
        "Бат Өлзий",
        SERIAL,
        "Прокурорын газар",
        "2026-07-08",
        "scan-88",
        "эх хувьтай тулгасан",
        "2026-07-09 16:00+08:00",
        "legal-1",
        "legal-2",
    ],
}


def ran(program: str, *arguments: str, octets: bytes | None = None) -> str:
    if which(program) is None:
        pytest.skip(f"needs {program}: see .ci/test-tools")
    done = subprocess.run([program, *arguments], input=octets, capture_output=True, check=True)
    return done.stdout.decode()


def text_of(pdf: bytes) -> str:
    """Return the words of a PDF with single spaces between them."""
    return " ".join(ran("pdftotext", "-layout", "-", "-", octets=pdf).split())


@pytest.mark.interop
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", MADE)
def test_a_document_says_all_that_it_is_made_of(name: str, language: Language) -> None:
    text = text_of(MADE[name](language))
    assert [one for one in TOLD[name] if one not in text] == []


@pytest.mark.interop
@pytest.mark.parametrize("language", LANGUAGES)
def test_2_2_the_form_has_every_field_by_its_number(language: Language) -> None:
    text = text_of(MADE["form"](language))
    assert {*FIELD_NUMBERS.values(), 11, 12} == set(range(1, 16))
    assert [number for number in range(1, 16) if f" {number}. " not in f" {text}"] == []


@pytest.mark.interop
@pytest.mark.parametrize("language", LANGUAGES)
def test_2_7_the_acknowledgement_has_the_four_explanations_in_full(language: Language) -> None:
    text = "".join(text_of(MADE["acknowledgement"](language)).split())
    told = explanations([SHIPPED], "2026-1", language)
    assert len(told) == 4
    assert [one.title for one in told if "".join(f"{one.title}{one.text}".split()) not in text] == []


@pytest.mark.interop
@pytest.mark.parametrize("name", MADE)
def test_every_font_is_embedded(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(MADE[name]("mn"))
    rows = [line.split() for line in ran("pdffonts", str(path)).splitlines()[2:]]
    assert {row[0].partition("+")[2] for row in rows} == {"DejaVuSans", "DejaVuSans-Bold"}
    assert [row for row in rows if row[-5:-2] != ["yes", "yes", "yes"]] == []  # emb, sub, uni


@pytest.mark.interop
def test_2_6_the_qr_code_leads_to_the_status_of_the_certificate(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(MADE["form"]("mn"))
    ran("pdftoppm", "-r", "100", "-png", str(tmp_path / "a.pdf"), str(tmp_path / "a"))
    assert ran("zbarimg", "--quiet", "--raw", str(tmp_path / "a-1.png")).strip() == URL


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", MADE)
def test_the_same_gives_the_same_octets(name: str, language: Language) -> None:
    made = MADE[name](language)
    assert made == MADE[name](language)
    assert made.startswith(b"%PDF-1.")


def test_another_value_gives_other_octets() -> None:
    other = replace(FORM, limit_mnt=6_000_000)
    assert application_form_pdf(FORM, "mn") != application_form_pdf(other, "mn")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Өлзий", "Өлзий"),
        ("И\u0306", "Й"),  # composed: a mark by itself would stand beside its letter
        ("\u202eabc", "[U+202E]abc"),
        ("a\x00b\nc", "a[U+0000]b[U+000A]c"),
        ("\u05d0", "[U+05D0]"),
        ("\u0627\u0661", "[U+0627][U+0661]"),
        ("漢", "[U+6F22]"),
        ("\ud800", "[U+D800]"),
        ("\ufeff\u200b", "[U+FEFF][U+200B]"),
    ],
    ids=["cyrillic", "decomposed", "override", "control", "hebrew", "arabic", "han", "surrogate", "unseen"],
)
def test_what_a_page_cannot_show_is_shown_by_its_number(text: str, printed: str) -> None:
    assert shown(text) == printed


@pytest.mark.interop
def test_markup_is_printed_as_it_was_entered() -> None:
    text = text_of(application_form_pdf(replace(FORM, address="<b>5</b> &amp; <img src='x'/>"), "mn"))
    assert "<b>5</b> &amp; <img src='x'/>" in text


@pytest.mark.interop
def test_a_longer_value_is_cut_and_says_so() -> None:
    text = text_of(application_form_pdf(replace(FORM, address="x" * (MAX_VALUE_CHARACTERS + 7)), "mn"))
    assert "[+7]" in text
    assert text.replace(" ", "").count("x" * 20) >= MAX_VALUE_CHARACTERS // 20 - 60  # lines end in between


HOSTILE = st.text(st.characters(), max_size=1500) | st.sampled_from(
    ["W" * 1200, "Щ " * 700, "\u202e" * 900, "ﷺ" * 300, "‱" * 999, "\t\r\n" * 400]
)


@settings(max_examples=25, deadline=None, phases=[Phase.generate])  # to shrink takes minutes
@given(HOSTILE, HOSTILE, st.sampled_from(LANGUAGES))
def test_no_text_breaks_a_page(name: str, line: str, language: Language) -> None:
    form = replace(FORM, parent_name=name, given_name=name, clan_name=line, address=line, mail=line)
    decision = replace(DECISION, holder=name, why=line, evidence={"body": name, "document": line})
    person = replace(acknowledgement(language), parent_name=name, given_name=line, registrar=line)
    for made in (
        application_form_pdf(form, language),
        decision_pdf(decision, language),
        acknowledgement_pdf(person, language),
    ):
        assert made.rstrip().endswith(b"%%EOF")


TABLES = [words.FORM, words.ACKNOWLEDGEMENT, words.DECISION, words.GROUNDS, words.CHANNELS]


def test_every_word_is_there_in_both_languages_and_can_be_printed() -> None:
    texts = [text for table in TABLES for pair in table.values() for text in pair]
    assert len(texts) > 100
    assert [text for text in texts if not text or shown(text) != text] == []
    same = [pair for table in TABLES for pair in table.values() if pair[0] == pair[1]]
    assert same == []


def test_the_words_cover_what_there_is_to_be_said() -> None:
    assert words.GROUNDS.keys() == GROUNDS.keys()
    assert words.CHANNELS.keys() == {one.value for one in Channel}
    assert words.DECISION.keys() >= {one.value for one in Kind} | set(EVIDENCE)
    assert words.ACKNOWLEDGEMENT.keys() >= set(KINDS)
    assert set(EXPLANATIONS) == {one.value for one in Explanation}


def test_an_operators_text_goes_before_the_shipped_one(tmp_path: Path) -> None:
    tables = "".join(f'[mn.{name}]\ntitle = "Т"\ntext = "{name}"\n' for name in EXPLANATIONS)
    (tmp_path / "2026-1.toml").write_text(tables)
    assert explanations([tmp_path, SHIPPED], "2026-1", "mn")[0].text == "legal_effect"
    with pytest.raises(UnavailableError, match="broken: en"):
        explanations([tmp_path, SHIPPED], "2026-1", "en")


@pytest.mark.parametrize("version", ["2019-1", "../2026-1", "", "a" * 41, "2026-1.toml/", "."])
def test_a_version_that_is_not_there_is_no_text(version: str) -> None:
    with pytest.raises(NotFoundError):
        explanations([SHIPPED], version, "mn")


def test_a_qr_code_that_could_not_be_read_is_not_made() -> None:
    with pytest.raises(ValueError, match="300"):
        qr_drawing("https://a/" + "b" * MAX_URL_CHARACTERS, 100)
