"""Lists of officers as organisations send them: CSV (RFC 4180), a header row, a row an officer. Pure.

What spreadsheets write is read: UTF-8 with or without a byte order mark, commas or semicolons. A fault of one
row is that row's; where the file itself is no list, `ListError` says why.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from pkiserver.errors import RefusedError
from pkiserver.ra.registration.form import Fault, FormError
from pkiserver.ra.registration.officer_form import OfficerForm, validate_officer

MAX_LIST_BYTES: Final = 512 << 10  # in Base64 it passes the control socket; rows have some 200 bytes
MAX_ROWS: Final = 2000  # of one list: all of them may be one transaction
MAX_CELL_CHARACTERS: Final = 300
# What each column may be called, in English and in Mongolian; capitals and underscores do not count.
COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "parent_name": ("parent_name", "Эцэг эхийн нэр"),
    "given_name": ("given_name", "Нэр"),
    "register_number": ("register_number", "Регистрийн дугаар"),
    "civil_id": ("civil_id", "Иргэний бүртгэлийн дугаар"),
    "work_mail": ("work_mail", "Албаны цахим шуудан"),
    "work_phone": ("phone", "Утас"),
    "position": ("position", "Албан тушаал"),
    "unit": ("unit", "Нэгж"),
}
OPTIONAL_COLUMNS: Final = frozenset({"unit"})
_SEPARATORS: Final = ",;"
# A spreadsheet that opens the list, or a report made of it, would calculate what begins so.
_FORMULA_STARTS: Final = frozenset("=+-@＝＋－＠|%")  # the full-width ones too
_BREAKS: Final = frozenset("\r\n\t")
_ONCE: Final = ("register_number", "civil_id", "work_mail")  # nobody stands in a list twice


class ListError(RefusedError):
    """The file is no list: nothing of it was looked at."""


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class ListedOfficer:
    """A row by the line where it begins; `form` None: the faults say why."""

    line: int
    form: OfficerForm | None
    faults: tuple[Fault, ...] = ()


def read_officers(octets: bytes, day: date) -> tuple[ListedOfficer, ...]:
    """Return the officers of a list, by a day's ages; `ListError` where it is none."""
    text = _text(octets)
    rows = _rows(text, _separator(text))
    header = next(rows, None)
    if header is None:
        raise ListError("the list is empty: its first row names the columns")
    columns = _columns(header[1])
    officers: list[ListedOfficer] = []
    seen: dict[tuple[str, str], int] = {}
    for line, cells in rows:
        if len(officers) == MAX_ROWS:
            raise ListError(f"a list has at most {MAX_ROWS} rows: send several")
        officers.append(_once(_officer(line, columns, cells, day), seen))
    if not officers:
        raise ListError("the list names nobody")
    return tuple(officers)


def _text(octets: bytes) -> str:
    if len(octets) > MAX_LIST_BYTES:
        raise ListError(f"a list has at most {MAX_LIST_BYTES >> 10} KiB: send several")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListError("the list is not in UTF-8: save it as CSV UTF-8") from error
    if any(one < " " and one not in _BREAKS for one in text):
        raise ListError("the list has control characters: it is no text")
    return text


def _separator(text: str) -> str:
    """Return what separates the cells of the first line: whichever of both stands there more often."""
    first = text.lstrip("\r\n").partition("\n")[0]
    return max(_SEPARATORS, key=first.count)


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Give the rows that hold anything, each with the line where it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ListError(f"line {begins} is no CSV: a quotation mark is missing or too many") from error


def _columns(header: Sequence[str]) -> list[str]:
    """Return the names of the columns in their order; `ListError` unless each is known and there once."""
    known = {_key(name): column for column, names in COLUMNS.items() for name in names}
    columns = []
    for number, cell in enumerate(header, 1):
        column = known.get(_key(cell))
        if column is None:
            raise ListError(f"column {number} has no known name: there are {_names()}")
        if column in columns:
            raise ListError(f"column {number} is {COLUMNS[column][0]} once more")
        columns.append(column)
    missing = [names[0] for one, names in COLUMNS.items() if one not in {*columns, *OPTIONAL_COLUMNS}]
    if missing:
        raise ListError(f"columns are missing: {', '.join(missing)}")
    return columns


def _key(name: str) -> str:
    return " ".join(name[:MAX_CELL_CHARACTERS].replace("_", " ").split()).casefold()


def _names() -> str:
    return ", ".join(english for english, _ in COLUMNS.values())


def _officer(line: int, columns: Sequence[str], cells: Sequence[str], day: date) -> ListedOfficer:
    if len(cells) != len(columns):
        fault = Fault("row", f"it has {len(cells)} cells, and the header {len(columns)}")
        return ListedOfficer(line, None, (fault,))
    fields = dict(zip(columns, cells, strict=True))
    faults = tuple(
        Fault(name, why) for name, cell in fields.items() if (why := _why_no_cell(name, cell)) is not None
    )
    if faults:
        return ListedOfficer(line, None, faults)
    try:
        return ListedOfficer(line, validate_officer(fields, day))
    except FormError as error:
        return ListedOfficer(line, None, error.faults)


def _why_no_cell(name: str, cell: str) -> str | None:
    """Return why a cell is not even looked at, or None; a telephone may begin with +."""
    if len(cell) > MAX_CELL_CHARACTERS:
        return f"it is over {MAX_CELL_CHARACTERS} characters long"
    start = cell.lstrip()[:1]
    if start in _FORMULA_STARTS and not (name == "work_phone" and start == "+"):
        return "it begins as a formula of a spreadsheet does"
    return None


def _once(officer: ListedOfficer, seen: dict[tuple[str, str], int]) -> ListedOfficer:
    """Return the officer, or the faults where an earlier row has the same number or mail."""
    if officer.form is None:
        return officer
    keys = [(name, getattr(officer.form, name)) for name in _ONCE]
    faults = tuple(
        Fault(name, f"line {seen[name, value]} has the same") for name, value in keys if (name, value) in seen
    )
    if faults:
        return ListedOfficer(officer.line, None, faults)
    seen.update(dict.fromkeys(keys, officer.line))
    return officer
