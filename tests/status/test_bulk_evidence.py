"""What a bulk act did to a certificate is told and proved as any other change of its status is."""

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from status_plane import StatusPlane, status_plane

from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.identity import Identity
from pkiserver.core import Core
from pkiserver.errors import ConflictError
from pkiserver.evidence_check import check_evidence
from pkiserver.progress import silent
from pkiserver.ra.bulk.acts import NewAct
from pkiserver.ra.bulk.selection import Selection
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from protocols.x509.names import parse_subject
from store import status_events
from store.records import CertificateRecord

if TYPE_CHECKING:
    from tests.conftest import FakeClock

LEGAL = tuple(Actor(f"legal-{number}", (Assignment(Role.LEGAL),)) for number in (1, 2))
SUBJECT = "CN=Бат Дорж,GN=Дорж,SN=Бат,serialNumber=PNOMN-{number:012d}"


@pytest.fixture
async def plane(core: Core) -> AsyncIterator[StatusPlane]:
    async with status_plane(core) as opened:
        core.served_responses.attach(opened.table.get)
        await opened.presigner.prepare()
        yield opened


async def issued(core: Core, number: int) -> CertificateRecord:
    request = AuthorizedRequest(
        profile=core.profiles["citizen-signature"],
        authority="citizen",
        identity=Identity(parse_subject(SUBJECT.format(number=number)), ()),
        public_key=ec.generate_private_key(ec.SECP256R1()).public_key(),
        requested_by="test",
    )
    return await core.issuance.issue(await core.issuance.prepare(request))


async def carried_out(core: Core, kind: Kind, ground: str, **selection: Any) -> int:
    acts = core.registration.bulk_acts
    proposed = await acts.propose(LEGAL[0], NewAct(kind, ground, Selection(**selection)))
    await acts.confirm(LEGAL[1], proposed.id, proposed.version)
    await core.registration.bulk_runner.work()
    return proposed.id


@pytest.fixture
async def folder(plane: StatusPlane, clock: "FakeClock", tmp_path: Path) -> Path:
    """The evidence of one of three certificates that were suspended, restored and revoked in bulk."""
    core = plane.core
    records = [await issued(core, number) for number in range(3)]
    await plane.presigner.work()
    issuer = (core.authorities.get("citizen").id,)
    clock.advance(timedelta(minutes=10))
    act = await carried_out(core, Kind.SUSPEND, "key_compromised", issuer=issuer)
    clock.advance(timedelta(minutes=10))
    await plane.presigner.work()
    await carried_out(core, Kind.RESTORE, "cause_gone", lifts=act)
    clock.advance(timedelta(minutes=10))
    await carried_out(core, Kind.REVOKE, "key_compromised", issuer=issuer)
    await plane.presigner.work()
    await core.crl_publisher.publish("citizen", "test")
    path = tmp_path / "evidence"
    path.mkdir()

    async def take(name: str, piece: bytes) -> None:
        with (path / name).open("ab") as file:
            file.write(piece)

    given = {"serial": f"{records[1].serial:x}", "ca": None, "time": clock.now().isoformat(), "head": None}
    await core.commands.run("status.evidence", given, "user:auditor", silent, take)
    return path


async def test_the_evidence_of_bulk_acts_holds(folder: Path) -> None:
    checked = check_evidence(folder, None)
    assert (checked.status, checked.events) == ("revoked", 4)
    assert len(list(folder.glob("bulk-events-*.txt"))) == 3


async def test_an_event_of_a_bulk_act_that_is_altered_shows(folder: Path) -> None:
    file = sorted(folder.glob("bulk-events-*.txt"))[0]
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[1], lines[0], *lines[2:]]))
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    rest = [one for one in sums if not one.endswith(f"  {file.name}")]
    (folder / "SHA256SUMS").write_text("\n".join([*rest, f"{digest}  {file.name}", ""]))
    with pytest.raises(ConflictError, match="bulk act"):
        check_evidence(folder, None)


async def test_ocsp_tells_what_a_bulk_act_did(plane: StatusPlane) -> None:
    core = plane.core
    records = [await issued(core, number) for number in range(3)]
    await plane.presigner.work()
    issuer = (core.authorities.get("citizen").id,)
    for kind, ground, selection, told in (
        (Kind.SUSPEND, "key_compromised", {"issuer": issuer}, "revoked (certificateHold)"),
        (Kind.RESTORE, "cause_gone", {"lifts": 1}, "good"),
        (Kind.REVOKE, "key_compromised", {"issuer": issuer}, "revoked (keyCompromise)"),
    ):
        await carried_out(core, kind, ground, **selection)
        await plane.presigner.work()
        assert plane.presigner.position == await core.storage.read(status_events.head)
        assert [plane.status(record.serial, "citizen") for record in records] == [told] * 3
