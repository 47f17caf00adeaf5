"""Certificates through the API: searched page by page, suspended, restored, revoked, each seen before."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.x509 import load_pem_x509_certificate

from pkiserver.core import Core
from store.certificates import Search, search
from store.records import CertificateRecord, serial_to_blob
from tests.web.api_harness import Client, Desk, Reply, desk, path_of

if TYPE_CHECKING:
    from tests.conftest import FakeClock

AT_REQUEST = {"ground": "holder_request"}


@pytest.fixture
async def office(core: Core, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(core, tmp_path) as opened:
        yield opened


@pytest.fixture
async def registrar(office: Desk) -> Client:
    return await office.actor("bat", "registrar")


async def change(
    client: Client, office: Desk, record: CertificateRecord, step: str, body: object, etag: str | None = None
) -> Reply:
    """Look at a certificate and change it, or change it as if `etag` had been seen."""
    path = path_of(office.core, record)
    return await client.post(f"{path}/{step}", body, If_Match=etag or (await client.get(path)).etag)


def serials(reply: Reply) -> list[int]:
    return [int(one["serial"], 16) for one in reply.body["items"]]


async def test_one_story(office: Desk, registrar: Client, clock: "FakeClock") -> None:
    """3.1 suspended, 3.4 restored at the holder's request, 3.6 revoked."""
    record = await office.issue("dorj")
    path = path_of(office.core, record)
    shown = await registrar.get(path)
    assert (shown.body["state"], shown.body["profile"]) == ("active", "citizen-signature")
    assert load_pem_x509_certificate(shown.body["pem"].encode()).serial_number == record.serial
    clock.advance(timedelta(hours=1))
    suspended = await change(registrar, office, record, "suspend", AT_REQUEST)
    assert (suspended.body["state"], suspended.body["reason"]) == ("suspended", "CERTIFICATE_HOLD")
    assert suspended.etag != shown.etag
    restored = await change(registrar, office, record, "restore", AT_REQUEST, suspended.etag)
    assert (restored.body["state"], restored.body["revoked_at"]) == ("active", None)
    body = {"reason": "keyCompromise", "invalid_since": record.not_before.isoformat()}
    revoked = await change(registrar, office, record, "revoke", body, restored.etag)
    assert (revoked.body["state"], revoked.body["reason"]) == ("revoked", "KEY_COMPROMISE")
    assert [(one["to"], one["actor"]) for one in revoked.body["events"]] == [
        ("active", "test"),
        ("suspended", "actor:bat"),
        ("active", "actor:bat"),
        ("revoked", "actor:bat"),
    ]
    final = await change(registrar, office, record, "restore", AT_REQUEST)
    assert "a revocation is final" in final.refused(409, "conflict")
    [refused] = await office.audited("api.restoreCertificate")
    assert (refused.actor, refused.outcome) == ("actor:bat", "refused")


async def test_a_hold_of_the_authority_is_not_the_registrar_s_to_lift(
    office: Desk, registrar: Client
) -> None:
    record = await office.issue("dorj")
    await office.command("certificate.suspend", serial=f"{record.serial:x}", ca=None, by="authority")
    reply = await change(registrar, office, record, "restore", AT_REQUEST)
    assert "suspended by the authority" in reply.refused(409, "conflict")


async def test_what_was_not_seen_is_not_changed(office: Desk, registrar: Client) -> None:
    record = await office.issue("dorj")
    path = path_of(office.core, record)
    before = (await registrar.get(path)).etag
    await office.command("certificate.suspend", serial=f"{record.serial:x}", ca=None, by="holder")
    late = await registrar.post(f"{path}/revoke", {"reason": "superseded"}, If_Match=before)
    late.refused(412, "precondition_failed")
    for given in ({}, {"If_Match": "*"}):
        unseen = await registrar.post(f"{path}/revoke", {"reason": "superseded"}, **given)
        unseen.refused(428, "precondition_required")
    weak = await registrar.post(f"{path}/revoke", {"reason": "superseded"}, If_Match=f"W/{before}")
    weak.refused(412, "precondition_failed")
    two = await registrar.post(f"{path}/revoke", {"reason": "superseded"}, If_Match=f'{before}, "x"')
    two.refused(400, "malformed")
    assert (await registrar.get(path)).body["state"] == "suspended"


async def test_what_changed_between_look_and_change(
    office: Desk, registrar: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is compared once more in the transaction of the change."""
    record = await office.issue("dorj")
    changes = office.core.status_changes
    carry_out = type(changes).carry_out

    async def late(self: object, *given: object, **more: object) -> object:
        monkeypatch.undo()
        await office.command("certificate.suspend", serial=f"{record.serial:x}", ca=None, by="authority")
        return await carry_out(changes, *given, **more)  # type: ignore[arg-type]  # passed on as it came

    etag = (await registrar.get(path_of(office.core, record))).etag
    monkeypatch.setattr(type(changes), "carry_out", late)
    reply = await change(registrar, office, record, "suspend", AT_REQUEST, etag)
    assert "changed meanwhile" in reply.refused(412, "precondition_failed")


async def test_not_modified(office: Desk, registrar: Client) -> None:
    path = path_of(office.core, await office.issue("dorj"))
    etag = (await registrar.get(path)).etag
    for given in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        reply = await registrar.get(path, If_None_Match=given)
        assert (reply.status, reply.octets, reply.etag) == (304, b"", etag)
    assert (await registrar.get(path, If_None_Match='"1-revoked"')).status == 200


async def test_an_expired_certificate(office: Desk, registrar: Client, clock: "FakeClock") -> None:
    record = await office.issue("dorj")
    over = int(clock.now().timestamp()) - 1
    await office.core.storage.write(
        lambda tx: tx.execute(
            "UPDATE certificates SET not_after = ? WHERE serial = ?", (over, serial_to_blob(record.serial))
        )
    )
    assert (await registrar.get(path_of(office.core, record))).body["state"] == "expired"
    reply = await change(registrar, office, record, "revoke", {"reason": "superseded"})
    assert "has expired" in reply.refused(409, "conflict")


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "privilegeWithdrawn"},  # against the holder's will: four eyes
        {"reason": "caCompromise"},
        {"reason": "certificateHold"},
        {"reason": "superseded", "more": 1},
        {"reason": "superseded", "invalid_since": "2026-01-01T00:00:00"},
        {"reason": "superseded", "invalid_since": 5},
        {"reason": 4},
        {},
        [],
    ],
)
async def test_bodies_that_are_not_allowed(office: Desk, registrar: Client, body: object) -> None:
    record = await office.issue("dorj")
    reply = await change(registrar, office, record, "revoke", body)
    reply.refused(422, "unprocessable")
    assert reply.body["fields"]
    assert (await registrar.get(path_of(office.core, record))).body["state"] == "active"


async def test_pages_hold_each_certificate_once(office: Desk, registrar: Client, clock: "FakeClock") -> None:
    issued = []
    for number in range(7):
        issued.append((await office.issue(f"dorj-{number}")).serial)
        clock.advance(timedelta(seconds=number % 2))  # some in the same second
    found: list[int] = []
    after = ""
    while True:
        page = await registrar.get(f"/certificates?profile=citizen-signature&limit=2{after}")
        found += serials(page)
        if page.body["next"] is None:
            break
        after = f"&after={page.body['next']}"
    assert len(found) == len(issued)
    assert set(found) == set(issued)
    whole = await registrar.get("/certificates?profile=citizen-signature&limit=200")
    assert serials(whole) == found


async def test_searches(office: Desk, registrar: Client, clock: "FakeClock") -> None:
    first = await office.issue("dorj")
    clock.advance(timedelta(days=1))
    second = await office.issue("oyun")
    await change(registrar, office, second, "suspend", AT_REQUEST)
    until = second.not_before.isoformat().replace("+00:00", "Z")
    for query, wanted in {
        f"serial={first.serial:X}": [first],
        "state=active&profile=citizen-signature": [first],
        "state=suspended": [second],
        "state=revoked": [],
        f"issued_until={until}&profile=citizen-signature": [first],
        f"issued_from={until}": [second],
        f"issued_from={until}&state=active": [],
        f"serial={first.serial:x}&state=suspended": [],
        "ca=government&profile=citizen-signature": [],
        "ca=citizen&profile=citizen-signature": [second, first],
        f"expires_until={first.not_after.isoformat().replace('+00:00', 'Z')}&profile=citizen-signature": [
            first
        ],
    }.items():
        reply = await registrar.get(f"/certificates?{query}")
        assert (query, serials(reply)) == (query, [one.serial for one in wanted])


async def test_a_list_leaves_out_what_the_role_may_not_read(office: Desk, registrar: Client) -> None:
    gate, citizen = await office.issue("gate-1", "device"), await office.issue("dorj")
    assert {one["ca"] for one in (await registrar.get("/certificates")).body["items"]} <= {
        "citizen",
        "government",
    }
    assert serials(await registrar.get(f"/certificates?serial={gate.serial:x}")) == []
    (await registrar.get("/certificates?ca=infrastructure")).refused(403, "not_authorized")
    auditor = await office.actor("saikhan", "auditor")
    for record in (gate, citizen):
        assert serials(await auditor.get(f"/certificates?serial={record.serial:x}")) == [record.serial]


async def responder_of_citizen(office: Desk) -> CertificateRecord:
    """Return the certificate of the OCSP responder of `citizen`, which that authority issued itself."""
    [citizen] = [one.id for one in office.core.authorities.records if one.name == "citizen"]
    profiles = {name for name, one in office.core.profiles.items() if one.kind == "ocsp-responder"}
    wanted = [Search([citizen], profile=name) for name in profiles]
    now = office.core.clock.now()
    found = await office.core.storage.read(
        lambda tx: [record for one in wanted for record in search(tx, one, now, None, 10)]
    )
    return found[0]


async def test_an_ocsp_responder_of_subscribers_is_no_subscriber(office: Desk, registrar: Client) -> None:
    """A registrar who could suspend it would silence the status of every citizen's certificate."""
    record = await responder_of_citizen(office)
    path = path_of(office.core, record)
    administrator, auditor = (
        await office.actor("ann", "administrator"),
        await office.actor("saikhan", "auditor"),
    )
    etag = (await auditor.get(path)).etag
    reason = (await registrar.get(path)).refused(403, "not_authorized")
    assert "may not read certificate here" in reason
    steps = (("suspend", AT_REQUEST), ("restore", AT_REQUEST), ("revoke", {"reason": "superseded"}))
    for step, body in steps:
        refused = (await change(registrar, office, record, step, body, etag)).refused(403, "not_authorized")
        assert "may not change certificate here" in refused
        refused = (await change(administrator, office, record, step, body)).refused(403, "not_authorized")
        assert "certificates of the authority itself are not changed here" in refused
    for query in (f"serial={record.serial:x}", f"profile={record.profile}", "ca=citizen"):
        assert serials(await registrar.get(f"/certificates?{query}")) == []
        assert record.serial in serials(await administrator.get(f"/certificates?{query}"))
    assert (await auditor.get(path)).body["state"] == "active"


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=0", {"limit"}),
        ("limit=201", {"limit"}),
        ("limit=x&state=gone", {"limit", "state"}),
        ("serial=" + "1" * 33, {"serial"}),
        ("serial=", {"serial"}),
        ("after=1-2", {"after"}),
        ("after=999999999999-1-1", {"after"}),
        ("issued_from=2026-01-01T00:00:00", {"issued_from"}),
        ("issued_from=0", set()),
        ("issued_from=99999999999999999999", {"issued_from"}),
        ("profile=%00", {"profile"}),
        ("colour=red", {"colour"}),
        ("limit=1&limit=2", {"limit"}),
    ],
)
async def test_queries_that_are_not_allowed(registrar: Client, query: str, fields: set[str]) -> None:
    reply = await registrar.get(f"/certificates?{query}")
    if not fields:
        assert reply.status == 200
        return
    reply.refused(422, "unprocessable")
    assert {one["field"] for one in reply.body["fields"]} == fields


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/certificates/citizen/1", 404),
        ("/certificates/nowhere/1", 404),
        ("/certificates/citizen/zz", 422),
        ("/certificates/Citizen/1", 422),
        ("/certificates/citizen/" + "f" * 32, 404),
        ("/certificates/citizen/0", 404),
        ("/certificates/", 404),
        ("/certificate", 404),
    ],
)
async def test_what_there_is_not(registrar: Client, path: str, status: int) -> None:
    reply = await registrar.get(path)
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/problem+json"
