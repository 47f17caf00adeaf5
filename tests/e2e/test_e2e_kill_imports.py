"""Kills the server amid the import of a list; given again, it goes on, and nobody stands there twice.

By rows the batches that were committed stay. All or none is one transaction, or none.
"""

import base64
from pathlib import Path
from typing import Any

import pytest
from consistency import assert_consistent, database_rows
from server_harness import FAULTY, Server, copied, doomed, running

from pkiserver.control import CommandFailedError
from pkiserver.ra.registration.imports import BATCH

NUMBER = "1234567"
ROWS = 2 * BATCH + 20
HEADER = "parent_name,given_name,register_number,civil_id,work_mail,phone,position"
# How it is imported, the step at which the server dies, and how many applications it left behind.
KILLS = [
    (False, "after:_batch", BATCH),
    pytest.param(False, "after:_made", 0, marks=pytest.mark.long),
    (True, "after:_made", 0),
    pytest.param(True, "after:_all_or_none", ROWS, marks=pytest.mark.long),
]


def officers() -> bytes:
    rows = [
        f"Бат,Дорж,УБ0523{1418 + at:04d},{123456780000 + at},dorj{at}@tax.gov.mn,99112233,Мэргэжилтэн"
        for at in range(ROWS)
    ]
    return "\n".join([HEADER, *rows]).encode()


def load(server: Server, *, whole: bool) -> Any:
    return server.command(
        "organization.import",
        number=NUMBER,
        content=base64.b64encode(officers()).decode(),
        whole=whole,
        dry_run=False,
    )


@pytest.fixture(scope="module")
def contracted_home(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an organisation that has a contract; copy it."""
    home = copied(pristine, tmp_path_factory.mktemp("contracted") / "home")
    with running(home) as server:
        server.command("organization.register", number=NUMBER, name="Татварын газар", mail="info@tax.gov.mn")
        for event in ("send_contract", "sign_contract"):
            server.command("organization.move", number=NUMBER, event=event, ground="letter 12", version=None)
        server.command("organization.domains", number=NUMBER, domains=["tax.gov.mn"])
    return home


@pytest.mark.parametrize(("whole", "step", "left"), KILLS)
def test_killed_amid_an_import(
    contracted_home: Path, tmp_path: Path, whole: bool, step: str, left: int
) -> None:
    home = copied(contracted_home, tmp_path / "home")
    with doomed(home, program=FAULTY, environment={"PKISERVER_TEST_KILL": step}) as server:
        with pytest.raises(CommandFailedError):
            load(server, whole=whole)
        server.wait_killed()
    before = database_rows(home, "SELECT id FROM applications ORDER BY id")
    assert len(before) == left
    with running(home) as server:
        report = load(server, whole=whole)
        assert (report["made"], report["carried_out"]) == (ROWS, True)
        assert load(server, whole=whole) == report
        assert_consistent(server)
    after = database_rows(home, "SELECT id FROM applications ORDER BY id")
    assert after[:left] == before
    assert [(one["application"],) for one in report["rows"]] == after
    for table in ("officers", "import_rows"):
        assert len(database_rows(home, f"SELECT 1 FROM {table}")) == ROWS  # noqa: S608 - tables of ours
