"""What a machine that only serves status tells of itself: when its answers end, and which CRLs have."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pkiserver.status import watch as module
from pkiserver.status.watch import StatusWatch
from protocols.asn1 import der
from protocols.crl import assemble_crl, build_tbs_cert_list
from store.response_entries import FORMAT_RECORD, ResponseEntry, response_key
from store.response_import import TableImport
from store.responses import ResponseTableReader

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
HOUR = timedelta(hours=1)
ALGORITHM = der.sequence(der.oid("1.2.840.10045.4.3.2"))


def crl(next_update: datetime, number: int = 7) -> bytes:
    tbs = build_tbs_cert_list(ALGORITHM, der.sequence(), NOW - 9 * HOUR, next_update, b"", b"key", number)
    return assemble_crl(tbs, ALGORITHM, b"signature")


def serve(folder: Path, *next_updates: int) -> None:
    """Swap in a table of these, as an import does (a writer would hold it open in this process)."""
    with closing(TableImport(folder, octets=0)) as table:
        for number, next_update in enumerate(next_updates):
            entry = ResponseEntry(1, 0, next_update, b"data", b"signature")
            table.add(response_key(1, number.to_bytes(3, "big")), entry.pack())
        table.add(*FORMAT_RECORD)
        table.prepare(NOW_S)
        table.commit()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[StatusWatch]:
    serve(tmp_path / "responses", NOW_S + 100, NOW_S - 5, NOW_S + 50)
    (tmp_path / "public" / "crl").mkdir(parents=True)
    with closing(ResponseTableReader(tmp_path / "responses")) as table:
        yield StatusWatch(table, tmp_path / "public")


def causes(watch: StatusWatch, now: datetime = NOW) -> dict[str, tuple[bool, str]]:
    return {cause.name: (cause.ok, cause.detail) for cause in watch.causes(now)}


def test_before_the_first_look_nothing_is_promised(watch: StatusWatch) -> None:
    assert causes(watch)["responses"] == (False, "the response table is empty: import an export")


def test_the_horizon(watch: StatusWatch) -> None:
    watch.look()
    assert watch.horizon == module.Horizon(NOW_S - 5, NOW_S + 100, 3)
    assert causes(watch)["responses"] == (True, "the first of them end 2026-08-01 11:59 UTC")
    assert watch.exported_at == NOW_S
    ok, detail = causes(watch, NOW + timedelta(seconds=100))["responses"]
    assert (ok, detail) == (
        False,
        "every response of the table is past its nextUpdate: import a newer export",
    )


def test_a_large_table_is_looked_at_in_parts(watch: StatusWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP", 1)
    watch.look()
    assert watch.busy
    assert watch.horizon == module.Horizon(NOW_S + 100, NOW_S + 100, 1)
    watch.look()
    assert watch.horizon == module.Horizon(NOW_S - 5, NOW_S + 100, 2)
    watch.look()
    assert not watch.busy
    assert watch.horizon == module.Horizon(NOW_S - 5, NOW_S + 100, 3)
    watch.look()
    assert not watch.busy  # not again at once


def test_a_new_look_shows_when_it_has_ended(watch: StatusWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.look()
    monkeypatch.setattr(module, "STEP", 2)
    monkeypatch.setattr(watch._survey, "_next_s", 0.0)
    whole = watch.horizon
    watch.look()
    assert watch.busy
    assert watch.horizon == whole


def test_a_new_generation_is_looked_at_at_once(watch: StatusWatch, tmp_path: Path) -> None:
    watch.look()
    serve(tmp_path / "responses", NOW_S + 900)
    watch.look()
    assert watch.horizon == module.Horizon(NOW_S + 900, NOW_S + 900, 1)
    serve(tmp_path / "responses")
    watch.look()
    assert not causes(watch)["responses"][0]


def test_a_table_that_cannot_be_read_is_told_until_it_can(watch: StatusWatch, tmp_path: Path) -> None:
    pointer = tmp_path / "responses" / "current"
    watch.look()
    number = pointer.read_text()
    pointer.write_text("nonsense")
    watch.look()
    ok, detail = causes(watch)["responses"]
    assert not ok
    assert "damaged" in detail
    pointer.write_text(number)
    watch.look()
    assert causes(watch)["responses"][0]


def test_crls(watch: StatusWatch, tmp_path: Path) -> None:
    folder = tmp_path / "public" / "crl"
    (folder / "good.crl").write_bytes(crl(NOW + HOUR))
    (folder / "stale.crl").write_bytes(crl(NOW - HOUR))
    (folder / "broken.crl").write_bytes(b"no CRL")
    (folder / "empty.crl").write_bytes(b"")
    watch.look()
    assert {name: times.number for name, times in watch.crls.items()} == {"good": 7, "stale": 7}
    assert watch.crls["good"].next_update == NOW + HOUR
    ok, detail = causes(watch)["crl"]
    assert not ok
    assert detail.split("; ") == [
        "the CRL stale is past its nextUpdate: import a newer export",
        "the CRL broken cannot be read",
        "the CRL empty cannot be read",
    ]
    for name in ("broken", "empty"):
        (folder / f"{name}.crl").unlink()
    (folder / ".new").write_bytes(crl(NOW + HOUR, 8))
    (folder / ".new").replace(folder / "stale.crl")
    watch.look()
    assert causes(watch)["crl"] == (True, "")
    assert watch.crls["stale"].number == 8
    assert causes(watch, NOW + HOUR)["crl"][0] is False  # at nextUpdate


def test_no_crl_at_all_is_no_fault(watch: StatusWatch) -> None:
    watch.look()
    assert causes(watch)["crl"] == (True, "")
