"""How the engine goes about what is asked often, or by anybody: by an index, however much there is."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from store import (
    applications,
    audit_heads,
    cases,
    certificates,
    cmp_transactions,
    crl_entries,
    crls,
    enrollments,
    expiries,
    holders,
    imports,
    issuances,
    ocsp_archive,
    organizations,
    people,
    personal_data,
    plant,
    register,
    register_events,
    renewals,
    reports,
    status_events,
    timeline,
)
from store import status_history as history
from store.cases import Scope
from store.certificates import Place, Search
from store.database import Transaction, Value
from store.owners import Owners
from store.records import CertificateRecord

if TYPE_CHECKING:
    from tests.store.conftest import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SUBJECT = "CN=a"
KEY = bytes(32)
# What grows with the certificates that were ever issued, and with the people.
LARGE = (
    *("certificates", "issuances", "status_events", "holds", "crl_entries", "crls", "ocsp_archive"),
    *("people", "person_changes", "personal_data", "applications", "application_events", "a", "i"),
    *("imports", "import_rows", "renewals", "r"),
    *("expiries", "e", "c", "k", "v", "cases"),
    *("plant_batches", "plant_cards", "b"),
    *("organizations", "organization_events", "officers", "o"),
    *("cmp_transactions", "cmp_requests", "t"),
)


class Explaining:
    """Passes statements on and notes how the engine goes about the queries."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.memo: dict[str, Any] = {}
        self.plans: list[str] = []
        self.memo: dict[str, Any] = {}

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        return self._tx.execute(sql, parameters)

    def one(self, sql: str, parameters: Sequence[Value] = ()) -> tuple[Any, ...] | None:
        self._explain(sql, parameters)
        return self._tx.one(sql, parameters)

    def all(self, sql: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        self._explain(sql, parameters)
        return self._tx.all(sql, parameters)

    def _explain(self, sql: str, parameters: Sequence[Value]) -> None:
        self.plans += [row[3] for row in self._tx.all(f"EXPLAIN QUERY PLAN {sql}", parameters)]


async def plans_of(store: "Store", query: Callable[..., object], *arguments: Any, **named: Any) -> list[str]:
    def work(tx: Transaction) -> list[str]:
        explaining = Explaining(tx)
        query(explaining, *arguments, **named)
        return explaining.plans

    return await store.read(work)


def walks_through(plan: str) -> bool:
    """Tell whether a step looks at all rows of a large table, or at all of one authority."""
    kind, _, rest = plan.partition(" ")
    if kind == "SCAN":
        return rest.split()[0] in LARGE
    return kind == "SEARCH" and plan.endswith("(authority=?)")


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        (certificates.get, (1, 5)),
        (holders.get, (1, 5, (1, 2))),
        (certificates.with_serial, (5,)),
        (certificates.with_key, (KEY,)),
        (certificates.newest_of_subject, (1, "device", SUBJECT)),
        (certificates.count_since, ("device", SUBJECT, NOW)),
        (certificates.status, (1, 5)),
        (certificates.statuses_in_range, (1, 5, 50, 10)),
        (certificates.count_in_range, (1, 5, 50, 0)),
        (certificates.any_in_use, (1, NOW, ["root-ca", "ocsp-signer"])),
        (cmp_transactions.with_id, (bytes(16),)),
        (cmp_transactions.find, (bytes(16), "credential:x")),
        (cmp_transactions.requested, (1,)),
        (cmp_transactions.due, (NOW, 10)),
        (cmp_transactions.count_waiting, ("credential:x",)),
        (crl_entries.current, (1, 5)),
        (crl_entries.of_certificate, (1, 5)),
        (crl_entries.at, (1, 5, 9)),
        (crl_entries.chunk, (1, 0, 9, NOW, 5, 10)),
        (crl_entries.chunk, (1, 3, 9, NOW, 5, 10)),
        (crl_entries.changes, (1, 0, 4, NOW, 9, 10)),
        (crl_entries.changes, (1, 3, 4, NOW, 9, 10)),
        (crl_entries.last_changes, (1, 9)),
        (crls.get, (1, 0, crls.FULL, 7)),
        (crls.latest, (1, 0, crls.FULL)),
        (crls.in_force_at, (1, 0, crls.FULL, NOW)),
        (issuances.unfinished, ()),
        (issuances.undelivered, ("credential:a", "device", KEY)),
        (issuances.subjects_of_key, (KEY,)),
        (ocsp_archive.at, (1, 5, NOW)),
        (register.after, (9, 10)),
        (register.of_serial, (5, 10)),
        (register.between, (NOW, NOW + timedelta(days=1), 9, 10)),
        (register.days, (9,)),
        (register.first_time, ()),
        (register_events.after, (register_events.Place(9, 1), 10)),
        (reports.counts, (NOW, NOW + timedelta(days=1), NOW, ["device"])),
        (timeline.of_person, (1, timeline.BEGIN, 10)),
        (timeline.of_certificate, (1, 5, timeline.BEGIN, 10)),
        (expiries.due, (1, "active", NOW, NOW, 10)),
        (expiries.of_certificate, (1, 5)),
        (status_events.head, ()),
        (status_events.after, (9, 10)),
        (status_events.of_certificate, (1, 5)),
        (status_events.open_holds, (1, 5)),
        (history.holds, (1, 5)),
        (cases.get, (1,)),
        (cases.open_like, (1, 5, "suspend", "written", None)),
        (cases.of_certificate, (1, 5, 10)),
        (cases.of_person, (1, 10)),
        (cases.count_open, (NOW,)),
        (applications.of_certificate, (1, 5)),
        (people.get, (1,)),
        (people.with_name_prefix, ("дорж", 10)),
        (people.changes, (1, 10)),
        (people.all_change_ids, (1,)),
        (personal_data.of_row, ("people", 1)),
        (personal_data.with_hash, ("people", "civil_id", KEY, 10)),
        (applications.get, (1,)),
        (applications.all_of_person, (1,)),
        (applications.with_name_prefix, ("дорж", 10)),
        (applications.events, (1,)),
        (applications.awaiting, (1, 5)),
        (applications.is_being_issued, (1,)),
        (imports.find, (1, KEY)),
        (imports.done, (1, [2, 3])),
        (renewals.is_answered, (KEY,)),
        (renewals.of_person, (1, 10)),
        (renewals.open_since, (NOW, 10)),
        (renewals.of_subject, (SUBJECT,)),
        (issuances.of_credential, (1,)),
        (plant.queued, (0, 10)),
        (plant.batch, (1,)),
        (plant.pulled_with, ("actor:plant-1", "pull-0001")),
        (plant.count_open, ("actor:plant-1",)),
        (plant.card, ("card-0000000000000000",)),
        (plant.cards, (1, 0, 10)),
        (plant.is_on_the_way, (1,)),
        (plant.of_application, (1,)),
        (organizations.with_number, ("1234567",)),
        (organizations.with_name_prefix, ("яам", 10)),
        (organizations.events, (1,)),
        (organizations.officers, (1, 10)),
        (organizations.officers_of_person, (1,)),
        (applications.of_officer, (1,)),
        (organizations.officer, (1,)),
        (organizations.officer_with_mail, (1, "a@gov.mn")),
        (organizations.count_officers, (1,)),
        (audit_heads.newest, ()),
        (audit_heads.get, (1,)),
        (audit_heads.after, (1, 10)),
        (audit_heads.covering, (1,)),
        (audit_heads.sent, ("file",)),
    ],
    ids=lambda value: f"{value.__module__}.{value.__name__}" if callable(value) else "",
)
async def test_no_query_walks_through_a_table(
    store: "Store", query: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    plans = await plans_of(store, query, *arguments)
    assert plans
    assert [plan for plan in plans if walks_through(plan)] == []


@pytest.fixture
async def listed(store: "Store") -> "Store":
    """A store with certificates of two authorities and profiles, so that there is something to list."""
    for authority, profile in product((1, 2), ("device", "citizen-signature")):
        await store.write(
            certificates.add,
            CertificateRecord(
                *(authority, authority * 10 + len(profile), profile, SUBJECT, KEY, NOW),
                *(NOW + timedelta(days=1), "active", b"DER"),
            ),
        )
    return store


@pytest.mark.parametrize("authorities", [None, [1], [1, 2]])
@pytest.mark.parametrize("state", [None, "active", "expired", "suspended"])
async def test_lists_do_not_read_or_sort_all_certificates(
    listed: "Store", authorities: list[int] | None, state: str | None
) -> None:
    plans = await plans_of(
        listed, certificates.newest, authorities=authorities, state=state, now=NOW, limit=10
    )
    assert [plan for plan in plans if walks_through(plan) or "SORT" in plan or "B-TREE" in plan] == []


async def test_counts_do_not_read_all_certificates(store: "Store") -> None:
    counted, *_ = await plans_of(store, certificates.count_by_state, 1, NOW)
    assert counted == "SEARCH certificates USING COVERING INDEX certificates_by_state (authority=?)"


@pytest.mark.parametrize("after", [None, (NOW, 7)])
@pytest.mark.parametrize("until", [None, NOW])
@pytest.mark.parametrize("office", [None, 1])
async def test_urgent_cases_are_found_in_their_order(
    store: "Store", office: int | None, until: datetime | None, after: tuple[datetime, int] | None
) -> None:
    plans = await plans_of(store, cases.open_by_due, Scope(office=office), until=until, after=after, limit=10)
    assert [plan for plan in plans if ("SCAN" in plan and "INDEX" not in plan) or "TEMP B-TREE" in plan] == []


@pytest.mark.parametrize("state", [None, "draft"])
async def test_a_span_of_time_is_a_span_of_numbers(store: "Store", state: str | None) -> None:
    wanted = applications.Search(state=state, created_from=NOW, created_until=NOW + timedelta(days=1))
    plans = await plans_of(store, applications.newest, wanted, 10)
    walk, *others = plans
    assert walk.startswith("SEARCH applications USING")
    assert "id>? AND" in walk
    assert "id<?)" in walk
    looked_up = "SEARCH applications USING COVERING INDEX applications_by_time (created_at>?)"
    assert [one for one in others if one.startswith("S") and not one.startswith("SCALAR")] == [looked_up] * 2


@pytest.mark.parametrize("before", [None, 7])
@pytest.mark.parametrize("office", [None, 1])
@pytest.mark.parametrize("state", [None, "draft"])
async def test_lists_of_applications_neither_sort_nor_filter(
    store: "Store", state: str | None, office: int | None, before: int | None
) -> None:
    offices = frozenset({office}) if office is not None else None
    wanted = applications.Search(state=state, offices=offices, before=before)
    (plan,) = await plans_of(store, applications.newest, wanted, 10)
    if state or office or before:
        assert plan.startswith("SEARCH applications USING")
        for name, value in (("state", state), ("office", office)):
            assert (f"{name}=?" in plan) == (value is not None)
    else:
        assert plan == "SCAN applications"  # by its primary key, and no further than the limit


@pytest.mark.parametrize("state", [None, "registered"])
async def test_lists_of_organizations_neither_sort_nor_filter(store: "Store", state: str | None) -> None:
    (plan,) = await plans_of(store, organizations.newest, state=state, before=7, limit=10)
    assert plan.startswith("SEARCH organizations USING")


AFTER = Place(NOW, 5, 1)


@pytest.mark.parametrize("after", [None, AFTER], ids=["first page", "next page"])
@pytest.mark.parametrize(
    ("wanted", "entered"),
    [
        (Search([1, 2]), ""),
        (Search([1], state="expired"), " AND not_before<?"),
        (Search([1, 2], state="active"), " AND not_before>?"),
        (Search([1], expires_until=NOW), " AND not_before<?"),
        (Search([1, 2], state="active", expires_until=NOW), " AND not_before>? AND not_before<?"),
        (Search([1, 2], issued_from=NOW, issued_until=NOW), " AND not_before>? AND not_before<?"),
        (Search([1, 2], state="revoked"), ""),
        (Search([1, 2], profile="device"), ""),
        (Search([1], state="revoked", profile="device"), ""),
    ],
    ids=str,
)
async def test_searches_enter_an_index_and_sort_nothing(
    listed: "Store", wanted: Search, entered: str, after: Place | None
) -> None:
    plans = await plans_of(listed, certificates.search, wanted, NOW, after, 10)
    if after is not None and "<?" not in entered:
        entered += " AND not_before<?"
    heads = {plan for plan in plans if " AND state=?" in plan}
    ends = wanted.expires_until is not None or wanted.state in ("active", "expired")
    index, life = ("certificates_by_life", " AND <expr>=?") if ends else ("certificates_listed", "")
    searched = f"SEARCH certificates USING COVERING INDEX {index}"
    assert heads == {f"{searched} (authority=? AND profile=?{life} AND state=?{entered})"}
    assert [plan for plan in plans if walks_through(plan) or "B-TREE" in plan] == []


async def test_a_search_for_a_serial_looks_at_its_certificates(store: "Store") -> None:
    plans = await plans_of(store, certificates.search, Search([1, 2], serial=5), NOW, None, 10)
    assert [plan for plan in plans if walks_through(plan)] == []


@pytest.mark.parametrize("state", ["waiting", "approved", "refused", "issued"])
async def test_enrolments_of_a_state_are_found_by_it(store: "Store", state: str) -> None:
    owners = Owners(frozenset({1, 2}), frozenset({"device"}), frozenset({True}))
    plans = await plans_of(store, enrollments.page, state, owners, NOW, 99, 10)
    assert plans == ["SEARCH enrollments USING INDEX enrollments_by_state (state=? AND rowid<?)"]


async def test_old_answers_of_the_api_are_found_by_their_age(store: "Store") -> None:
    def work(tx: Transaction) -> list[str]:
        rows = tx.all(
            "EXPLAIN QUERY PLAN SELECT actor, key FROM api_requests WHERE begun_at < ? LIMIT ?", (5, 1)
        )
        return [row[3] for row in rows]

    assert await store.read(work) == [
        "SEARCH api_requests USING COVERING INDEX api_requests_by_age (begun_at<?)"
    ]


async def test_the_renewals_of_one_are_counted_among_its_own(store: "Store") -> None:
    """Not among all of the profile that day: each certificate would make the next one dearer."""
    plans = await plans_of(store, certificates.count_since, "device", SUBJECT, NOW)
    assert plans == ["SEARCH certificates USING INDEX certificates_by_subject (subject=?)"]


async def test_an_intent_is_stored_without_a_look_at_what_others_left(store: "Store") -> None:
    """What refers to issuances is looked through for the new one: by an index."""

    def work(tx: Transaction) -> list[str]:
        explaining = Explaining(tx)
        issuances.reserve(
            explaining,
            authority=1,
            serial=1,
            profile="device",
            subject=SUBJECT,
            spki_sha256=KEY,
            tbs=b"tbs",
            tbs_sha256=KEY,
            requested_by="tests",
            credential=None,
            enrollment=None,
            crl_shard=0,
            state="prepared",
            now=NOW,
        )
        return explaining.plans

    plans = await store.write(work)
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN")] == []
