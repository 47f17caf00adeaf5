"""Every role with every operation, in its place and elsewhere; denials are on record."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from pkiserver.core import Core
from pkiserver.ra.registration.permission_table import PERMISSIONS, Scope, place_of
from pkiserver.ra.registration.roles import Role
from pkiserver.web.api.operations import Operation
from pkiserver.web.api.table import OPERATIONS
from store import bulk_acts, cases, organizations
from store.applications import ApplicationRecord
from store.bulk_acts import NewActRecord
from store.cases import NewCaseRecord
from store.database import Transaction
from tests.web.api_harness import BASE, Client, Desk, Reply, desk, path_of
from tests.web.registration_world import (
    ALL_EXPLAINED,
    DRAFT,
    FORM,
    OTHER_FORM,
    PROOF,
    World,
    on_behalf_of,
)

HERE, ELSEWHERE = "here", "elsewhere"
NO_SCOPE: frozenset[Scope] = frozenset()
ALWAYS = frozenset(Scope)
OF_APPLICATION = frozenset({Scope.OWN_OFFICE, Scope.OWN_HOLDER})
OF_ORGANIZATION = frozenset({Scope.OWN_ORGANIZATION})
OF_ANY_ORGANIZATION = frozenset({Scope.ORGANIZATIONS})
OF_BATCH = frozenset({Scope.OWN_BATCH})
OF_CASE = frozenset({Scope.OWN_OFFICE, Scope.OWN_HOLDER, Scope.OWN_ORGANIZATION})
OF_CERTIFICATE = (frozenset({Scope.SUBSCRIBERS}), frozenset({Scope.INFRASTRUCTURE}))


@dataclass(frozen=True)
class Cell:
    """What an operation is asked: the body, and which scopes hold what is here and what is elsewhere."""

    body: Any = None
    here: frozenset[Scope] = ALWAYS
    elsewhere: frozenset[Scope] = ALWAYS


def of(scopes: frozenset[Scope], body: Any = None) -> Cell:
    return Cell(body, scopes, NO_SCOPE)


HOURS = {"name": "Дархан"}
POSITION = {"title": "Дарга", "ground": "order 1"}
GROUND = {"ground": "test"}
TORN = {"result": "failed", "failure": "damaged", "reason": "torn"}
ROLE = {"role": "auditor"}
LIST = (
    "parent_name,given_name,register_number,civil_id,work_mail,phone,position\n"
    "Бат,Болд,УК90061224,123456789019,bold@audit.gov.mn,99112233,Дарга"
).encode()
MESSAGE = {
    "id": "m-1",
    "sequence": 1,
    "kind": "death",
    "civil_id": "999999999999",
    "effective_at": "2026-01-01T00:00:00Z",
}
# A `{word}` of a body is replaced as that of a path is.
CELLS: Mapping[str, Cell] = {
    "listCertificates": Cell(),
    "showCertificate": Cell(None, *OF_CERTIFICATE),
    "suspendCertificate": Cell({"ground": "holder_request"}, *OF_CERTIFICATE),
    "restoreCertificate": Cell({"ground": "holder_request"}, *OF_CERTIFICATE),
    "revokeCertificate": Cell({"reason": "superseded"}, *OF_CERTIFICATE),
    "listEnrollments": Cell(),
    "showEnrollment": Cell(None, *OF_CERTIFICATE),
    "approveEnrollment": Cell(None, *OF_CERTIFICATE),
    "refuseEnrollment": Cell({"reason": "not known here"}, *OF_CERTIFICATE),
    "listOffices": Cell(),
    "showOffice": Cell(),
    "createOffice": Cell({"code": "{office}-new", **HOURS}),
    "changeOffice": Cell(HOURS),
    "setOfficeDay": Cell({"works": True}),
    "searchPeople": Cell({"name": "дорж"}),
    "showPerson": Cell(),
    "showPersonHistory": Cell(),
    "correctPerson": Cell({"ground": "moved", "address": "2-р хороо"}),
    "requestErasure": Cell(GROUND),
    "confirmErasure": Cell(),
    "listOrganizations": of(NO_SCOPE),
    "showOrganization": of(OF_ORGANIZATION),
    "registerOrganization": Cell({"number": "{new_organization}", "name": "Яам", "mail": "it@yam.gov.mn"}),
    "moveContract": of(OF_ORGANIZATION, {"event": "end", "ground": "test"}),
    "declineOrganizations": Cell({"numbers": ["1000009"], "ground": "spam"}),
    "setDomains": of(OF_ORGANIZATION, {"domains": ["audit.gov.mn"]}),
    "listOfficers": of(OF_ORGANIZATION),
    "addOfficer": of(
        OF_ORGANIZATION,
        {"parent_name": "Бат", "given_name": "Болд", "mail": "new@audit.gov.mn", **POSITION},
    ),
    "changePosition": of(OF_ORGANIZATION, POSITION),
    "removeOfficer": of(OF_ORGANIZATION),
    "listTokens": of(OF_ORGANIZATION),
    "receiveTokens": of(OF_ORGANIZATION, b"T-1"),
    "assignToken": of(OF_ORGANIZATION, {"application": 999}),
    "moveToken": of(OF_ORGANIZATION, {"event": "lose", "ground": "test"}),
    "keepUnblockCode": Cell({"code": "48151623"}, OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "askUnblock": of(OF_ORGANIZATION),
    "releaseUnblockCode": of(OF_ORGANIZATION, {"challenge": "ABCD-EFGH-JKLM"}),
    "handOverCodes": of(frozenset({Scope.OWN_OFFICE}), {"pin": "271828", "puk": "31415926"}),
    "importOfficers": of(OF_ORGANIZATION, LIST),
    "listApplications": Cell(),
    "searchApplications": Cell({"name": "дорж"}),
    "showApplication": of(OF_APPLICATION),
    "createApplication": of(OF_APPLICATION, DRAFT),
    "verifyApplication": of(OF_APPLICATION, PROOF),
    "returnApplication": of(OF_APPLICATION, GROUND),
    "withdrawApplication": of(OF_APPLICATION, GROUND),
    "issueApplication": of(OF_APPLICATION, {}),
    "failApplication": of(OF_APPLICATION, GROUND),
    "replaceApplication": of(OF_APPLICATION, GROUND),
    "signOffApplication": of(OF_APPLICATION, GROUND),
    "deliverApplication": of(OF_APPLICATION, ALL_EXPLAINED),
    "closeApplication": of(OF_APPLICATION, {"archive_unit": "7"}),
    "listApplicationDocuments": of(OF_APPLICATION),
    "makeApplicationDocument": of(OF_APPLICATION, {"kind": "application_form"}),
    "readApplicationDocument": of(OF_APPLICATION),
    "listCaseDocuments": Cell(None, OF_CASE | OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "makeCaseDocument": of(frozenset({Scope.OWN_OFFICE}), {"language": "en"}),
    "readCaseDocument": Cell(None, OF_CASE | OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "listPlantBatches": Cell(),
    "pullPlantBatch": Cell({"size": 1}),
    "showPlantBatch": of(OF_BATCH),
    "listPlantCards": of(OF_BATCH),
    "reportPlantCard": of(OF_BATCH, TORN),
    "listCases": Cell(),
    "showCase": Cell(None, OF_CASE | OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "listCertificateCases": Cell(),
    "listPersonCases": Cell(),
    "requestCase": of(
        frozenset({Scope.OWN_OFFICE}),
        {"kind": "suspend", "ground": "holder_request", "office": "{office}"},
    ),
    "proposeRevocation": of(
        frozenset({Scope.OWN_OFFICE}), {"ground": "forged_documents", "office": "{office}"}
    ),
    "enterDecision": Cell(
        {
            "kind": "suspend",
            "ground": "authority_decision",
            "body": "court",
            "number": "1",
            "date": "2026-07-08",
            "document": "scan-1",
        }
    ),
    "decideCase": Cell(
        {"granted": True, "ground": "seen"},
        frozenset({Scope.OWN_OFFICE}) | OF_ANY_ORGANIZATION,
        OF_ANY_ORGANIZATION,
    ),
    "confirmDecision": Cell({"granted": True, "ground": "seen"}),
    "listBulkActs": Cell(),
    "proposeBulkAct": Cell(
        {"kind": "revoke", "ground": "contract_ended", "organization": "{organization}"},
        OF_ANY_ORGANIZATION,
        OF_ANY_ORGANIZATION,
    ),
    "showBulkAct": Cell(None, OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "showBulkBatch": Cell(None, OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "confirmBulkAct": Cell(None, OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "refuseBulkAct": Cell(None, OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "stopBulkAct": Cell(None, OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "resumeBulkAct": Cell(None, OF_ANY_ORGANIZATION, OF_ANY_ORGANIZATION),
    "listLetters": Cell(),
    "followRegister": Cell(),
    "addWebhook": Cell({"name": "a", "url": "https://nowhere.example/"}),
    "listWebhooks": Cell(),
    "removeWebhook": Cell(),
    "resendWebhook": Cell({"after": "1-0"}),
    "showReport": Cell(),
    "showCertificateTimeline": Cell(None, *OF_CERTIFICATE),
    "showPersonTimeline": Cell(),
    "showReportCSV": Cell(),
    "feedRegistry": Cell({"messages": [MESSAGE]}),
    "listActors": Cell(),
    "showActor": Cell(),
    "registerActor": Cell({"name": "somebody", "certificate": "none"}),
    "identifyActor": Cell({"civil_id": "800000000001"}),
    "grantRole": Cell(ROLE),
    "withdrawRole": Cell(ROLE),
    "removeActor": Cell(),
    "listProposals": Cell(),
    "showProposal": Cell(),
    "confirmProposal": Cell(),
    "refuseProposal": Cell(),
}


def test_every_operation_has_its_line() -> None:
    assert set(CELLS) == {one.operation_id for one in OPERATIONS}


async def names_of(world: World) -> dict[str, dict[str, str]]:
    """Make what is acted upon, here and elsewhere; return how paths name it."""
    office = world.desk
    named: dict[str, dict[str, str]] = {}
    for place, code, form, organization, profile, plant in (
        (HERE, "ub-1", FORM, "1234567", "citizen-signature", "actor:somebody"),
        (ELSEWHERE, "ub-2", OTHER_FORM, "7654321", "device", "actor:plant-2"),
    ):
        batch, card = await world.pulled(plant, code, form)
        application = await world.verified(code, form)
        officer = await office.command(
            "organization.officer-add",
            number=await office.organization(organization),
            parent_name="Бат",
            given_name="Дорж",
            mail="dorj@audit.gov.mn",
            title="Мэргэжилтэн",
            unit=None,
            ground="test",
        )
        certificate = path_of(world.core, await office.issue("c", profile)).split("/")
        named[place] = {
            "office": code,
            "day": "2026-07-10",
            "person": str(application.person),
            "application": str(application.id),
            "organization": organization,
            "new_organization": organization[::-1],
            "officer": str(officer["id"]),
            "ca": certificate[2],
            "serial": certificate[3],
            "enrollment": str(await office.enrollment("e", profile)),
            "actor": "administrator",
            "proposal": "1",
            "document": "1",
            "webhook": "1",
            "batch": str(batch),
            "card": card,
            "case": str(await case_of(world, application, organization, "written")),
            "decision": str(await case_of(world, application, organization, "authority")),
            "token": "T-1",
            "act": str(await act_of(world, organization)),
        }
    return named


async def case_of(world: World, application: ApplicationRecord, organization: str, channel: str) -> int:
    """Have a case wait, in the office of an application, about a certificate of an organisation's."""
    now = world.core.clock.now()

    def add(tx: Transaction) -> int:
        of = organizations.with_number(tx, organization)
        assert of is not None
        new = NewCaseRecord(
            kind="suspend",
            channel=channel,
            ground="authority_decision" if channel == "authority" else "holder_request",
            authority=1,
            serial=application.id,
            office=application.office,
            person=application.person,
            organization=of.id,
            lifts=None,
            evidence="{}",
            received_at=now,
            due_at=now,
            entered_by="somebody else",
            entered_role="legal" if channel == "authority" else "registrar",
            entered_person=None,
        )
        return cases.add(tx, new).id

    return await world.core.storage.write(add)


async def act_of(world: World, organization: str) -> int:
    """Have a bulk act wait, about the certificates of an organisation."""

    def add(tx: Transaction) -> int:
        of = organizations.with_number(tx, organization)
        assert of is not None
        new = NewActRecord(
            kind="revoke",
            ground="contract_ended",
            lifts=None,
            organization=of.id,
            selection="{}",
            evidence="{}",
            certificates=1,
            sha256=bytes(32),
            proposed_at=world.core.clock.now(),
            proposed_by="somebody else",
            proposed_role="specialist",
            proposed_person=None,
        )
        return bulk_acts.add(tx, new, [(1, bytes(16))]).id

    return await world.core.storage.write(add)


async def client_of(world: World, role: Role) -> Client:
    places = {"office": "ub-1", "organization": "1234567"}
    place = place_of(role)
    return await world.desk.actor("somebody", role.value, **({place: places[place]} if place else {}))


def body_of(cell: Cell, named: Mapping[str, str], place: str) -> Any:
    if cell.body is DRAFT:
        return {"office": named["office"], "form": FORM if place == HERE else OTHER_FORM}
    if not isinstance(cell.body, dict):
        return None
    return {
        key: value.format(**named) if isinstance(value, str) else value for key, value in cell.body.items()
    }


async def asked(client: Client, role: Role, one: Operation, named: Mapping[str, str], place: str) -> Reply:
    headers = {"If-Match": '"another"'} if one.versioned else {}
    if one.operation_id == "confirmDecision":
        named = {**named, "case": named["decision"]}
    if role is Role.SERVICE:
        headers |= on_behalf_of(FORM["civil_id"])
    if isinstance(octets := CELLS[one.operation_id].body, bytes):
        headers |= {"Content-Type": one.media_types[0]}
        return await client.ask(one.method, BASE + one.path.format(**named), None, headers, octets)
    body = body_of(CELLS[one.operation_id], named, place)
    return await client.ask(one.method, BASE + one.path.format(**named), body, headers)


def may(role: Role, one: Operation, place: str) -> bool:
    rule, cell = PERMISSIONS.get((role, one.action)), CELLS[one.operation_id]
    if rule is None:
        return False
    return rule.scope is Scope.ANYWHERE or rule.scope in (cell.here if place == HERE else cell.elsewhere)


@pytest.mark.parametrize("role", Role)
async def test_every_cell(core: Core, tmp_path: Path, role: Role) -> None:
    """What may be asked goes on to the next step, which finds another version; all else is 403, on record."""
    async with desk(core, tmp_path, rate=10_000, burst=100_000) as office:
        world = await World(office).make()
        named = await names_of(world)
        client = await client_of(world, role)
        refused: list[Operation] = []
        async with client.kept():
            for one, place in product(OPERATIONS, (HERE, ELSEWHERE)):
                reply = await asked(client, role, one, named[place], place)
                allowed = may(role, one, place)
                assert (reply.status != 403) == allowed, (one.operation_id, place, reply)
                assert reply.status < 500
                if allowed and one.versioned:
                    reply.refused(412, "precondition_failed")
                if reply.status >= 400 and (one.changes or reply.status == 403):
                    refused.append(one)
        await _all_on_record(office, refused)


async def _all_on_record(office: Desk, refused: list[Operation]) -> None:
    """Each refusal has one record, in order: of the gate of registration, or of the API itself."""
    records = [
        record
        for one in {"api", "registration"}
        for record in await office.audited_with(one)
        if (record.actor, record.outcome) == ("actor:somebody", "refused")
    ]
    found = [record.action for record in sorted(records, key=lambda record: record.sequence)]
    assert len(found) == len(refused)
    for action, one in zip(found, refused, strict=True):
        assert action in (f"api.{one.operation_id}", f"registration.{one.action.value}")
