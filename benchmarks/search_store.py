"""A home with very many people, applications and certificates, written straight into its store.

Personal data are encrypted for real. Names repeat as they do in a country: some hundred of each kind.
"""

import os
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks.desks import without_limits
from pkiserver.clock import Clock
from pkiserver.core import Core, open_core
from pkiserver.home import Home
from pkiserver.initialise import initialise
from pkiserver.progress import silent
from pkiserver.ra.registration.contacts import name_key
from pkiserver.ra.registration.offices import OfficeForm
from pkiserver.ra.registration.people import SUBJECT
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from store import applications, certificates, organizations, people
from store.database import Transaction
from store.people import NameRow
from store.records import CertificateRecord, from_unix, to_unix
from store.sqlite import SQLiteTransaction

NOW: Final = Clock().now()
SPAN: Final = timedelta(days=5 * 365 + 100)
SHORT_LIFE: Final = timedelta(days=365)
SHORT_LIVES: Final = 250  # one of so many: what ends soon is then not what began long ago alone
OFFICES: Final = 50
ORGANIZATIONS: Final = 5_000
LETTERS: Final = "абвгдежзийклмнопрстуфхцчшэюяөү"
STATES: Final = ("closed",) * 90 + ("delivered",) * 4 + ("withdrawn",) * 3 + ("returned",) * 2 + ("draft",)
CERTIFICATE_STATES: Final = ("active",) * 95 + ("revoked",) * 4 + ("suspended",)
ADMINISTRATOR: Final = Actor("bench", (Assignment(Role.ADMINISTRATOR),))


@dataclass(frozen=True, slots=True)
class Names:
    """The names that there are."""

    given: list[str]
    parents: list[str]


@dataclass(frozen=True, slots=True)
class Issuer:
    """The authority of the certificates; all have the octets of its own."""

    authority: int
    der: bytes


@dataclass(frozen=True, slots=True)
class Filling:
    """What the store is filled with, and by."""

    tx: Transaction
    data: PersonalData
    chance: random.Random
    names: Names


@dataclass(frozen=True, slots=True)
class FilledCore:
    """An open core with `count` of each; person n has the numbers that n gives."""

    core: Core
    names: Names
    count: int
    serials: list[int]  # some of them


def civil_id(number: int) -> str:
    """Return the civil registration number of a person."""
    return f"{number:012d}"


def _born(number: int) -> date:
    return date(1950, 1, 1) + timedelta(days=number % 20_000)


def register_number(number: int) -> str:
    """Return the register number of a person: no other has it."""
    born, letters = _born(number), LETTERS.upper()
    month = born.month + 20 if born.year >= 2000 else born.month
    behind = number // 20_000
    first, second = letters[behind // 3_000 % 30], letters[behind // 100 % 30]
    return f"{first}{second}{born.year % 100:02d}{month:02d}{born.day:02d}{behind % 100:02d}"


def _names(chance: random.Random) -> Names:
    def some(count: int, least: int) -> list[str]:
        made = {
            "".join(chance.choices(LETTERS, k=chance.randint(least, 10))).capitalize() for _ in range(count)
        }
        return sorted(made)

    return Names(some(2_000, 3), some(3_000, 3))


@asynccontextmanager
async def filled_core(folder: Path, count: int) -> AsyncIterator[FilledCore]:
    """Open a new home with so many people, each with an application and a certificate."""
    home = Home(folder / "home")
    await initialise(home, None, offline_root=False, progress=silent)
    without_limits(home)
    chance = random.Random(7)
    names = _names(chance)
    async with open_core(home, Clock()) as core:
        for number in range(OFFICES):
            await core.registration.offices.add(ADMINISTRATOR, f"ub-{number}", OfficeForm(f"Алба {number}"))
        authority = core.authorities.get("citizen")
        citizen = Issuer(authority.id, authority.der)
    with closing(_connection(home)) as connection:
        filling = Filling(SQLiteTransaction(connection), PersonalData(home.personal_data_key), chance, names)
        serials = _fill(connection, filling, citizen, count)
    async with open_core(home, Clock()) as core:
        yield FilledCore(core, names, count, serials)


def _connection(home: Home) -> sqlite3.Connection:
    """Return a connection that forgets everything in a crash: this home is not kept."""
    connection = sqlite3.connect(home.database, isolation_level=None)
    for setting in (
        "journal_mode = OFF",
        "synchronous = OFF",
        "cache_size = -2000000",
        "locking_mode = EXCLUSIVE",
    ):
        connection.execute(f"PRAGMA {setting}")
    return connection


def _organizations(tx: Transaction, names: Names) -> None:
    for number in range(ORGANIZATIONS):
        name = f"{names.parents[number % len(names.parents)]} газар {number}"
        organizations.add(
            tx,
            number=f"{1_000_000 + number}",
            name=name,
            name_key=name_key(name),
            mail="info@example.mn",
            now=NOW,
        )


def _fill(connection: sqlite3.Connection, filling: Filling, citizen: Issuer, count: int) -> list[int]:
    serials = []
    connection.execute("BEGIN")
    indexes = _without_indexes(connection)
    _organizations(filling.tx, filling.names)
    for number in range(1, count + 1):
        # Spread over five years and a quarter, so that some have expired, however many there are.
        made = NOW - SPAN + SPAN * (number / count)
        serial = _one(filling, citizen, number, from_unix(to_unix(made)))
        if number % 100 == 1:
            serials.append(serial)
    for index in indexes:
        connection.execute(index)
    connection.execute("COMMIT")
    # No ANALYZE: the server makes none, and what is measured are the plans that it has.
    return serials


def _without_indexes(connection: sqlite3.Connection) -> list[str]:
    """Drop the indexes of what is filled, and return how to make them: at the end that takes less."""
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        " AND tbl_name IN ('people', 'personal_data', 'applications', 'certificates')"
    ).fetchall()
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}")
    return [sql for _, sql in found]


def _one(filling: Filling, citizen: Issuer, number: int, made: datetime) -> int:
    """Add a person with an application and a certificate; return its serial number."""
    tx, chance, names = filling.tx, filling.chance, filling.names
    given, parent = chance.choice(names.given), chance.choice(names.parents)
    key = name_key(f"{given} {parent}")
    person = people.add(tx, NameRow(parent, None, given, key, name_key(f"{parent} {given}")), made)
    filling.data.put(tx, SUBJECT, person.id, _values(number))
    application = applications.add(
        tx,
        office=number % OFFICES + 1,
        channel="branch",
        carrier="id_card",
        profile="citizen-signature",
        name_key=key,
        now=made,
        by="bench",
    )
    serial = int.from_bytes(os.urandom(16), "big") >> 1
    tx.execute(
        "UPDATE applications SET person = ?, state = ?, authority = ?, serial = ? WHERE id = ?",
        (person.id, chance.choice(STATES), citizen.authority, serial.to_bytes(16, "big"), application.id),
    )
    record = CertificateRecord(
        authority=citizen.authority,
        serial=serial,
        profile=("citizen-signature", "citizen-authentication")[number % 2],
        subject=f"CN={parent} {given},serialNumber=PNOMN-{civil_id(number)},C=MN",
        spki_sha256=os.urandom(32),
        not_before=made,
        not_after=made + (SHORT_LIFE if number % SHORT_LIVES == 0 else timedelta(days=5 * 365 + 1)),
        state=chance.choice(CERTIFICATE_STATES),
        certificate=citizen.der,
    )
    certificates.add(tx, record)
    return serial


def _values(number: int) -> dict[str, str]:
    return {
        "aimag": "Улаанбаатар",
        "district": "Сүхбаатар",
        "register_number": register_number(number),
        "civil_id": civil_id(number),
        "birth_date": _born(number).isoformat(),
        "address": f"{number % 20}-р хороо {number % 97}-{number % 31}",
        "phone": f"+976{99_000_000 + number % 999_999}",
        "mail": f"person-{number}@example.mn",
    }
