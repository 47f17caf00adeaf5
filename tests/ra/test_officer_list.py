"""Lists of officers: what spreadsheets write is read, every fault named by line and field, any octets."""

import csv
import io
from collections.abc import Sequence
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.ra.registration import officer_list as module
from pkiserver.ra.registration.officer_list import COLUMNS, MAX_LIST_BYTES, ListError, read_officers

DAY = date(2026, 11, 22)
ENGLISH = [names[0] for names in COLUMNS.values()]
MONGOLIAN = [names[1] for names in COLUMNS.values()]
DORJ = ["Бат", "Дорж", "УБ05231418", "123456789012", "dorj@tax.gov.mn", "99112233", "Мэргэжилтэн", "Аудит"]
SARAA = ["Дорж", "Сараа", "УК90061224", "123456789013", "saraa@tax.gov.mn", "+976 88112233", "Дарга", ""]


def written(rows: Sequence[Sequence[str]], separator: str = ",", end: str = "\r\n") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=end).writerows(rows)
    return out.getvalue().encode()


def changed(column: str, value: str) -> list[str]:
    cells = list(DORJ)
    cells[ENGLISH.index(column)] = value
    return cells


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("header", [ENGLISH, MONGOLIAN, [one.upper().replace("_", " ") for one in ENGLISH]])
def test_what_spreadsheets_write(mark: bytes, separator: str, end: str, header: list[str]) -> None:
    first, second = read_officers(mark + written([header, DORJ, [], SARAA], separator, end), DAY)
    assert first.form is not None
    assert second.form is not None
    assert (first.line, second.line) == (2, 4)
    assert (first.form.given_name, first.form.work_mail, first.form.unit) == (
        "Дорж",
        "dorj@tax.gov.mn",
        "Аудит",
    )
    assert (second.form.work_phone, second.form.unit) == ("+97688112233", None)
    assert second.form.birth_date == date(1990, 6, 12)


def test_columns_stand_in_any_order_and_the_unit_may_be_missing() -> None:
    rows = [list(reversed(row[:-1])) for row in (ENGLISH, DORJ)]
    (only,) = read_officers(written(rows), DAY)
    assert only.form is not None
    assert (only.form.parent_name, only.form.position) == ("Бат", "Мэргэжилтэн")


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (written([ENGLISH]), "names nobody"),
        (written([ENGLISH[1:], DORJ[1:]]), "columns are missing: parent_name"),
        (written([[*ENGLISH, "salary"], [*DORJ, "1"]]), "column 9 has no known name"),
        (written([[*ENGLISH, "Нэр"], [*DORJ, "1"]]), "column 9 is given_name once more"),
        (written([DORJ, SARAA]), "column 1 has no known name"),
        (written([ENGLISH, DORJ]).decode().encode("cp1251"), "not in UTF-8"),
        (written([ENGLISH, DORJ]).decode().encode("utf-16"), "not in UTF-8"),
        (written([ENGLISH, changed("unit", "a\x00b")]), "control characters"),
        (written([ENGLISH]) + b'"open, and never closed', "line 2 is no CSV"),
        (written([ENGLISH]) + b'"a"b,c', "line 2 is no CSV"),
        (b"a" * (MAX_LIST_BYTES + 1), "at most 512 KiB"),
        (written([ENGLISH]) + b"a" * 200_000, "line 2 is no CSV"),
    ],
)
def test_what_is_no_list(octets: bytes, why: str) -> None:
    with pytest.raises(ListError, match=why):
        read_officers(octets, DAY)


def test_rows_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 1)
    assert len(read_officers(written([ENGLISH, DORJ]), DAY)) == 1
    with pytest.raises(ListError, match="at most 1 rows"):
        read_officers(written([ENGLISH, DORJ, SARAA]), DAY)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (changed("parent_name", ""), "parent_name"),
        (changed("given_name", "Дорж7"), "given_name"),
        (changed("given_name", "Д" * 62), "given_name"),
        (changed("register_number", "AB05231418"), "register_number"),
        (changed("register_number", "УБ15231418"), "register_number"),  # 11 years old
        (changed("civil_id", "12345678901"), "civil_id"),
        (changed("work_mail", "dorj"), "work_mail"),
        (changed("phone", "1234567"), "work_phone"),
        (changed("position", ""), "position"),
        (changed("position", "a\nb"), None),  # a line break in a cell is a space
        (changed("unit", "Аудит\u202e"), "unit"),
        (changed("unit", "б" * 65), "unit"),
        (changed("unit", "б" * 301), "unit"),
        (changed("unit", '=cmd|"/c calc"!A1'), "unit"),
        (changed("position", " @SUM(A1)"), "position"),
        (changed("position", "-1+1"), "position"),
        (changed("position", "＝1"), "position"),
        (changed("parent_name", "+Бат"), "parent_name"),
        (changed("phone", "=99112233"), "work_phone"),
        (DORJ[:-1], "row"),
        ([*DORJ, "more"], "row"),
    ],
)
def test_a_fault_is_its_rows_own(row: list[str], field: str | None) -> None:
    found, other = read_officers(written([ENGLISH, row, SARAA]), DAY)
    assert other.form is not None
    assert [fault.field for fault in found.faults] == ([] if field is None else [field])
    assert (found.form is None) is (field is not None)
    assert not any(cell in fault.message for fault in found.faults for cell in row if cell)


def test_every_fault_of_a_row_is_named() -> None:
    (found,) = read_officers(written([ENGLISH, ["", "7", "x", "1", "a", "1", "", ""]]), DAY)
    names = [
        *("parent_name", "given_name", "register_number", "civil_id"),
        *("work_mail", "work_phone", "position"),
    ]
    assert [fault.field for fault in found.faults] == names


def test_nobody_stands_in_a_list_twice() -> None:
    again = list(SARAA)
    again[3] = DORJ[3]
    first, second, third = read_officers(written([ENGLISH, DORJ, DORJ, again]), DAY)
    assert first.form is not None
    assert [(one.field, one.message) for one in second.faults] == [
        ("register_number", "line 2 has the same"),
        ("civil_id", "line 2 has the same"),
        ("work_mail", "line 2 has the same"),
    ]
    assert [one.field for one in third.faults] == ["civil_id"]


CELLS = st.one_of(st.text(max_size=20), st.sampled_from([*DORJ, *SARAA, *ENGLISH]))


@given(st.lists(st.lists(CELLS, max_size=9), max_size=6), st.sampled_from([",", ";"]))
def test_any_table_gives_rows_or_is_no_list(table: list[list[str]], separator: str) -> None:
    rows = [[cell.encode("utf-8", "replace").decode() for cell in row] for row in table]
    try:
        found = read_officers(written([ENGLISH, *rows], separator), DAY)
    except ListError:
        return
    assert all((one.form is None) is bool(one.faults) for one in found)
    lines = [one.line for one in found]
    assert lines == sorted(set(lines))


@given(st.binary(max_size=400))
def test_any_octets_are_a_list_or_none(octets: bytes) -> None:
    for content in (octets, written([ENGLISH]) + octets):
        try:
            read_officers(content, DAY)
        except ListError:
            continue


@given(st.permutations(range(len(ENGLISH))), st.sampled_from([",", ";"]), st.booleans())
def test_what_is_written_is_read(order: list[int], separator: str, quoted: bool) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerows([[row[at] for at in order] for row in (MONGOLIAN, DORJ)])
    (found,) = read_officers(out.getvalue().encode(), DAY)
    assert found.form is not None
    assert [found.form.parent_name, found.form.given_name, found.form.civil_id] == [DORJ[0], DORJ[1], DORJ[3]]
