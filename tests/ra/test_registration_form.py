"""The form IUB-41: each field valid or named, all faults at once."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.errors import RefusedError
from pkiserver.ra.registration.contacts import (
    is_of_domain,
    name_key,
    parse_domain,
    parse_mail,
    parse_name,
    parse_phone,
)
from pkiserver.ra.registration.form import FIELD_NUMBERS, Form, FormError, validate_form
from pkiserver.ra.registration.numbers import (
    age,
    birth_date_of,
    midnight,
    parse_civil_id,
    parse_organization_number,
    parse_register_number,
    today,
)

DAY = date(2026, 7, 9)
FIELDS: dict[str, Any] = {
    "aimag": "Улаанбаатар",
    "district": "Сүхбаатар",
    "register_number": "УБ05231418",
    "civil_id": "123456789012",
    "birth_date": "2005-03-14",
    "parent_name": "Бат",
    "clan_name": "Боржигон",
    "given_name": "Дорж",
    "address": "1-р хороо, Энхтайваны өргөн чөлөө 5-12",
    "phone": "99112233",
    "mail": "dorj@Example.mn",
    "use_restricted": False,
    "value_limited": True,
    "limit_mnt": 5_000_000,
}


def faults_of(day: date = DAY, **changes: Any) -> dict[str, str]:
    with pytest.raises(FormError) as caught:
        validate_form(FIELDS | changes, day)
    return {fault.field: fault.message for fault in caught.value.faults}


def test_a_valid_form() -> None:
    form = validate_form(FIELDS, DAY)
    assert form == Form(
        aimag="Улаанбаатар",
        district="Сүхбаатар",
        register_number="УБ05231418",
        civil_id="123456789012",
        birth_date=date(2005, 3, 14),
        parent_name="Бат",
        clan_name="Боржигон",
        given_name="Дорж",
        address="1-р хороо, Энхтайваны өргөн чөлөө 5-12",
        phone="+97699112233",
        mail="dorj@example.mn",
        use_restricted=False,
        value_limited=True,
        limit_mnt=5_000_000,
    )
    assert "Дорж" not in repr(form)


def test_every_missing_field_is_named_at_once_in_the_order_of_the_form() -> None:
    with pytest.raises(FormError) as caught:
        validate_form({}, DAY)
    required = [name for name in FIELD_NUMBERS if name not in ("clan_name", "limit_mnt")]
    assert [fault.field for fault in caught.value.faults] == required
    assert {fault.message for fault in caught.value.faults} == {"it is missing"}


@pytest.mark.parametrize("name", FIELD_NUMBERS)
@pytest.mark.parametrize("value", [["list"], {"a": 1}, 1.5, b"octets", "\0"])
def test_no_field_takes_other_values(name: str, value: object) -> None:
    assert name in faults_of(**{name: value})


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"birth_date": "2005-03-15"}, "birth_date", "not the date of birth in the register number"),
        ({"birth_date": "2005-3-14"}, "birth_date", "written as"),
        ({"birth_date": "20050314"}, "birth_date", "written as"),
        ({"birth_date": "2005-02-30"}, "birth_date", "written as"),
        ({"register_number": "УБ05031418"}, "birth_date", "not the date"),  # of 1905
        ({"register_number": "UB05231418"}, "register_number", "two Cyrillic letters"),
        ({"register_number": "УБ05331418"}, "register_number", "no date"),
        ({"register_number": "УБ0523141"}, "register_number", "eight digits"),
        ({"register_number": "УБ0523141٨"}, "register_number", "eight digits"),
        ({"civil_id": "12345678901"}, "civil_id", "12 digits"),
        ({"civil_id": "12345678901٣"}, "civil_id", "12 digits"),
        ({"phone": "+79161234567"}, "phone", "976"),
        ({"phone": "9911223"}, "phone", "eight digits"),
        ({"phone": "12345678901234567890"}, "phone", "eight digits"),
        ({"phone": "12345678901234567890" * 9}, "phone", "too long"),
        ({"mail": "dorj@"}, "mail", "name@domain"),
        ({"mail": "a" * 65 + "@example.mn"}, "mail", "at most"),
        ({"mail": "дорж@example.mn"}, "mail", "ASCII"),
        ({"given_name": "Дорж1"}, "given_name", "letters"),
        ({"given_name": "Д" * 61}, "given_name", "with the parent's name"),
        ({"address": "а" * 301}, "address", "1 to 300"),
        ({"use_restricted": "no"}, "use_restricted", "yes or no"),
        ({"use_restricted": 0}, "use_restricted", "yes or no"),
        ({"limit_mnt": None}, "limit_mnt", "required"),
        ({"value_limited": False}, "limit_mnt", "no place"),
        ({"limit_mnt": 0}, "limit_mnt", "whole number"),
        ({"limit_mnt": True}, "limit_mnt", "whole number"),
        ({"limit_mnt": 10**16}, "limit_mnt", "whole number"),
        ({"serial": "1"}, "serial", "no such field"),
    ],
)
def test_one_fault(changes: dict[str, Any], field: str, message: str) -> None:
    faults = faults_of(**changes)
    assert message in faults[field]
    assert set(faults) == {field}


def test_15_is_required_by_14_alone() -> None:
    form = validate_form(FIELDS | {"value_limited": False, "limit_mnt": None}, DAY)
    assert (form.value_limited, form.limit_mnt) == (False, None)


def test_faults_never_quote_what_was_entered() -> None:
    changes = dict.fromkeys(FIELD_NUMBERS, "Нууц-7")
    assert not [message for message in faults_of(**changes).values() if "Нууц" in message]


@pytest.mark.parametrize(
    ("day", "valid"), [(date(2021, 3, 13), False), (date(2021, 3, 14), True), (date(2005, 3, 13), False)]
)
def test_regulation_2_1_sixteen_on_the_day(day: date, valid: bool) -> None:
    if valid:
        assert validate_form(FIELDS, day).birth_date == date(2005, 3, 14)
    else:
        assert set(faults_of(day)) == {"birth_date"}


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.sampled_from(["УБ", "ӨҮ", "ёя"]))
def test_every_date_of_birth_has_its_register_number(born: date, letters: str) -> None:
    month = born.month + (20 if born.year >= 2000 else 0)
    number = parse_register_number(f" {letters}{born.year % 100:02}{month:02}{born.day:02}18")
    assert number[:2] == letters.upper()
    assert birth_date_of(number) == born


@given(st.text(max_size=40))
@pytest.mark.parametrize(
    "parse",
    [
        parse_register_number,
        parse_civil_id,
        parse_organization_number,
        parse_phone,
        parse_mail,
        parse_name,
        parse_domain,
    ],
)
def test_any_text_is_parsed_or_refused_and_what_was_parsed_stays(parse: Any, text: str) -> None:
    try:
        parsed = parse(text)
    except RefusedError:
        return
    assert parse(parsed) == parsed


NAMES = st.sampled_from([*FIELD_NUMBERS, "other"])


@given(st.dictionaries(NAMES, st.text(max_size=20) | st.integers() | st.none()))
def test_faults_are_of_fields_whatever_is_entered(fields: dict[str, object]) -> None:
    with pytest.raises(FormError) as caught:  # texts and numbers alone make no form: 13 is yes or no
        validate_form(fields, DAY)
    assert caught.value.faults
    assert {fault.field for fault in caught.value.faults} <= {*FIELD_NUMBERS, "other"}


@pytest.mark.parametrize("text", ["99112233", "9911 2233", "+976 9911-2233", "+97699112233"])
def test_one_phone_written_in_many_ways(text: str) -> None:
    assert parse_phone(text) == "+97699112233"


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_register_number, "УБ05231418"),
        (parse_civil_id, "123456789012"),
        (parse_phone, "99112233"),
        (parse_mail, "a@example.mn"),
        (parse_name, "Дорж"),
    ],
)
def test_nothing_is_cut_off_to_make_it_valid(parse: Any, text: str) -> None:
    assert parse(text)
    with pytest.raises(RefusedError):
        parse(text + " " * 600 + "x")


def test_domains() -> None:
    assert is_of_domain("a@audit.gov.mn", "gov.mn")
    assert is_of_domain("a@gov.mn", "gov.mn")
    assert not is_of_domain("a@evilgov.mn", "gov.mn")
    assert not is_of_domain("gov.mn@example.mn", "gov.mn")


def test_names_are_searched_without_regard_to_capitals() -> None:
    assert name_key("ӨЛЗИЙ  Ёндон") == name_key("өлзий ёНДОН") == "өлзий ёндон"


def test_days_are_those_of_mongolia() -> None:
    assert today(datetime(2026, 7, 8, 16, 0, tzinfo=UTC)) == DAY
    assert today(datetime(2026, 7, 8, 15, 59, tzinfo=UTC)) == date(2026, 7, 8)
    assert midnight(DAY) == datetime(2026, 7, 8, 16, 0, tzinfo=UTC)
    assert age(date(2008, 2, 29), date(2024, 2, 28)) == 15
    assert age(date(2008, 2, 29), date(2025, 3, 1)) == 17
