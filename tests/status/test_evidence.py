"""`status at`: the answer, the evidence of it, and that whatever is changed in a folder of evidence shows."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from status_plane import StatusPlane, status_plane

from pkiserver.audit import Head
from pkiserver.commands.status import parse_time
from pkiserver.core import Core
from pkiserver.errors import ConflictError, PKIServerError, RefusedError, UnavailableError
from pkiserver.evidence_check import check_evidence
from pkiserver.progress import silent
from store import audit as audit_chain
from store import ocsp_archive
from store.records import CertificateRecord

if TYPE_CHECKING:
    from tests.conftest import FakeClock, Issue

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def plane(core: Core) -> AsyncIterator[StatusPlane]:
    async with status_plane(core) as opened:
        core.served_responses.attach(opened.table.get)
        await opened.presigner.prepare()
        yield opened


class Case:
    """A certificate that was suspended for ten minutes and later revoked, with CRLs and responses."""

    def __init__(self, plane: StatusPlane, record: CertificateRecord, clock: "FakeClock") -> None:
        self.core, self.plane, self.record, self.clock = plane.core, plane, record, clock
        self.issued = clock.now()
        self.suspended = self.issued + 10 * MINUTE
        self.restored = self.issued + 20 * MINUTE
        self.revoked = self.issued + 30 * MINUTE

    async def happen(self) -> None:
        await self.publish()
        self.clock.moment = self.suspended
        await self.run("certificate.suspend", by="holder")
        await self.publish()
        self.clock.moment = self.restored
        await self.run("certificate.restore", by="holder")
        await self.publish()
        self.clock.moment = self.revoked
        await self.run("certificate.revoke", reason="keyCompromise")
        await self.publish()
        self.clock.advance(10 * MINUTE)

    async def publish(self) -> None:
        await self.plane.presigner.work()
        await self.core.crl_publisher.publish("infrastructure", "test")

    async def run(self, command: str, **arguments: Any) -> Any:
        given = {"serial": f"{self.record.serial:x}", "ca": None, **arguments}
        return await self.core.commands.run(command, given, "user:operator", silent)

    async def at(self, moment: datetime) -> dict[str, Any]:
        answer = await self.run("status.at", time=moment.isoformat())
        assert isinstance(answer, dict)
        return answer

    async def evidence(self, folder: Path, moment: datetime, head: str | None = None) -> dict[str, Any]:
        folder.mkdir()

        async def take(name: str, piece: bytes) -> None:
            with (folder / name).open("ab") as file:
                file.write(piece)

        given = {"serial": f"{self.record.serial:x}", "ca": None, "time": moment.isoformat(), "head": head}
        answer = await self.core.commands.run("status.evidence", given, "user:operator", silent, take)
        assert isinstance(answer, dict)
        return answer

    async def head(self) -> Head:
        return Head.of(await self.core.storage.read(audit_chain.head))


@pytest.fixture
async def case(plane: StatusPlane, issue: "Issue", clock: "FakeClock") -> Case:
    made = Case(plane, await issue(plane.core), clock)
    await made.happen()
    return made


class TestAnswer:
    async def test_at_each_time(self, case: Case) -> None:
        second = timedelta(seconds=1)
        told = [
            (case.issued - second, "not-issued", None),
            (case.issued, "active", None),
            (case.suspended - second, "active", None),
            (case.suspended, "suspended", "certificateHold"),
            (case.restored - second, "suspended", "certificateHold"),
            (case.restored, "active", None),
            (case.revoked, "revoked", "keyCompromise"),
        ]
        for moment, status, reason in told:
            answer = await case.at(moment)
            assert (answer["status"], answer["reason"]) == (status, reason)
        assert (await case.at(case.suspended))["holds"] == "holder"
        assert (await case.at(case.restored))["holds"] is None

    async def test_of_the_future_there_is_none(self, case: Case) -> None:
        assert (await case.at(case.clock.now()))["status"] == "revoked"
        with pytest.raises(RefusedError, match="in the future"):
            await case.at(case.clock.now() + timedelta(seconds=1))

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
            ("2026-03-01t12:00:00z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
            ("2026-03-01 20:00:00+08:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
            ("2026-03-01T12:00:00.999Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ],
    )
    def test_times(self, text: str, moment: datetime) -> None:
        assert parse_time(text) == moment

    @pytest.mark.parametrize(
        "text",
        [
            "2026-03-01",
            "2026-03-01T12:00:00",
            "2026-03-01T12:00Z",
            "2026-02-30T12:00:00Z",
            "2026-03-01T12:00:00+25:00",
            "0001-01-01T00:00:00+08:00",
            "1772366400",
            "yesterday",
            "",
        ],
    )
    def test_what_is_no_time_with_its_zone(self, text: str) -> None:
        with pytest.raises(RefusedError, match="no time with its zone"):
            parse_time(text)


class TestEvidence:
    async def test_of_a_hold_that_crls_forgot(self, case: Case, tmp_path: Path) -> None:
        folder = tmp_path / "case"
        answer = await case.evidence(folder, case.suspended + MINUTE)
        assert answer["status"] == "suspended"
        assert answer == json.loads((folder / "status.json").read_text())
        (crl,) = answer["crls"]
        assert crl["said"] == f"certificateHold since {case.suspended:%Y-%m-%dT%H:%M:%SZ}"
        entry = x509.load_der_x509_crl((folder / "crl.der").read_bytes())
        assert entry.get_revoked_certificate_by_serial_number(case.record.serial) is not None
        response = ocsp.load_der_ocsp_response((folder / "ocsp-response.der").read_bytes())
        (one, *_) = response.responses
        assert one.certificate_status is ocsp.OCSPCertStatus.REVOKED
        assert one.this_update_utc == case.suspended
        checked = check_evidence(folder, None)
        assert (checked.status, checked.events) == ("suspended", 4)
        assert checked.head == await case.head()

    async def test_at_each_time_ocsp_crl_and_answer_agree(self, case: Case, tmp_path: Path) -> None:
        times = (case.issued, case.suspended, case.restored, case.revoked, case.clock.now())
        for number, moment in enumerate(times):
            folder = tmp_path / str(number)
            answer = await case.evidence(folder, moment)
            good = answer["status"] == "active"
            assert (answer["crls"][-1]["said"] == "good") == good
            assert answer["ocsp"].startswith("good" if good else "revoked")
            assert check_evidence(folder, None).status == answer["status"]

    async def test_before_the_first_response_there_is_none(self, case: Case, tmp_path: Path) -> None:
        answer = await case.evidence(tmp_path / "case", case.issued - MINUTE)
        assert "no OCSP response of that time is kept" in answer["ocsp"]
        assert not (tmp_path / "case" / "ocsp-response.der").exists()
        assert "no OCSP response of that time is kept" in (tmp_path / "case" / "README.txt").read_text()

    async def test_the_proof_leads_to_a_head_that_was_kept(self, case: Case, tmp_path: Path) -> None:
        kept = await case.head()
        for _ in range(3):
            await case.core.commands.run("crl.publish", {"ca": None, "last": False}, "user:operator", silent)
        text = json.dumps({"sequence": kept.sequence, "hash": kept.hash})
        await case.evidence(tmp_path / "case", case.restored, text)
        assert check_evidence(tmp_path / "case", kept).head == kept
        with pytest.raises(ConflictError, match="not to the given head"):
            check_evidence(tmp_path / "case", await case.head())

    async def test_a_head_of_before_the_events_proves_nothing(self, case: Case, tmp_path: Path) -> None:
        text = json.dumps({"sequence": 1, "hash": "00" * 32})
        with pytest.raises(ConflictError, match="give a later one"):
            await case.evidence(tmp_path / "case", case.restored, text)

    async def test_another_chain_than_that_of_the_head_shows(self, case: Case, tmp_path: Path) -> None:
        kept = await case.head()
        text = json.dumps({"sequence": kept.sequence, "hash": "00" * 32})
        with pytest.raises(ConflictError, match="not the one of the given head"):
            await case.evidence(tmp_path / "case", case.restored, text)

    async def test_a_log_that_was_altered_gives_no_evidence(self, case: Case, tmp_path: Path) -> None:
        await case.core.storage.write(
            lambda tx: tx.execute(
                "UPDATE audit SET actor = 'nobody' WHERE sequence = (SELECT max(sequence) FROM audit)"
            )
        )
        with pytest.raises(ConflictError, match="was altered"):
            await case.evidence(tmp_path / "case", case.restored)

    async def test_tells_of_no_other_certificate(self, case: Case, issue: "Issue", tmp_path: Path) -> None:
        other = await issue(case.core, "other-holder.mn")
        await case.evidence(tmp_path / "case", case.restored)
        content = b"".join(path.read_bytes() for path in (tmp_path / "case").iterdir())
        assert f"{other.serial:032x}".encode() not in content
        assert b"other-holder" not in content

    async def test_the_procedure_of_the_readme_without_the_program(self, case: Case, tmp_path: Path) -> None:
        """What the README has an auditor paste, with nothing but a shell, openssl and Python."""
        folder = tmp_path / "case"
        await case.evidence(folder, case.suspended)
        for command in readme_commands(folder):
            if not command.startswith("pkiserver"):
                code, told = await asyncio.to_thread(pasted, command, folder)
                assert code == 0, (command, told)
                if command.startswith("openssl ocsp"):
                    assert "Response verify OK" in told
                    assert "certificateHold" in told
                if "-CAfile chain.pem -noout -lastupdate" in command:
                    assert "verify OK" in told


def pasted(command: str, folder: Path) -> tuple[int, str]:
    run = subprocess.run(
        ["bash", "-e", "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout + run.stderr


def readme_commands(folder: Path) -> list[str]:
    """Return the commands in the README: indented by five spaces, those of one block together."""
    commands: list[str] = []
    block: list[str] = []
    for line in [*(folder / "README.txt").read_text().splitlines(), ""]:
        if line.startswith("     "):
            block.append(line[5:])
        elif block:
            text = "\n".join(block)
            commands += [text] if "<<" in text or "\\\n" in text else block
            block = []
    assert len(commands) == 6
    return commands


Spoil = Callable[[Path], object]


def replaced(name: str, old: str, new: str) -> Spoil:
    def spoil(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return spoil


def without_line(name: str, number: int) -> Spoil:
    def spoil(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines(keepends=True)
        del lines[number]
        (folder / name).write_text("".join(lines))

    return spoil


def without_event(folder: Path) -> None:
    events = json.loads((folder / "events.json").read_text())
    (folder / "events.json").write_text(json.dumps([events[0], *events[2:]]))


def later(folder: Path) -> None:
    """Move the suspension to after the time asked for, in the event alone."""
    events = json.loads((folder / "events.json").read_text())
    events[1]["at"] = events[2]["at"]
    (folder / "events.json").write_text(json.dumps(events))


def without_suspension(folder: Path) -> None:
    """Leave the hold out, event and record, so that all the rest fits together."""
    events = json.loads((folder / "events.json").read_text())
    (folder / "events.json").write_text(json.dumps([events[0], *events[3:]]))
    answer = json.loads((folder / "status.json").read_text())
    answer |= {"status": "active", "revoked_at": None, "reason": None, "holds": None}
    answer |= {"since": events[0]["at"], "sequence": events[0]["sequence"]}
    (folder / "status.json").write_text(json.dumps(answer))


def issued_last(folder: Path) -> None:
    """Put the first event behind all others too: what comes last stands."""
    events = json.loads((folder / "events.json").read_text())
    (folder / "events.json").write_text(json.dumps([*events, events[0]]))
    answer = json.loads((folder / "status.json").read_text())
    answer |= {"status": "active", "revoked_at": None, "reason": None}
    answer |= {"since": events[0]["at"], "sequence": events[0]["sequence"]}
    (folder / "status.json").write_text(json.dumps(answer))


def never_issued(folder: Path) -> None:
    events = json.loads((folder / "events.json").read_text())
    (folder / "events.json").write_text(json.dumps(events[1:]))


def expired(folder: Path) -> None:
    """Have the certificate end before the time asked for."""
    answer = json.loads((folder / "status.json").read_text())
    answer |= {"status": "expired", "not_after": answer["not_before"]}
    (folder / "status.json").write_text(json.dumps(answer))


def of_another_certificate(folder: Path) -> None:
    shutil.copy(folder / "issuer.pem", folder / "certificate.pem")


# Each with all the digests of SHA256SUMS made again, as a forger would.
FORGERIES: dict[str, tuple[Spoil, str]] = {
    "another status": (replaced("status.json", '"status": "suspended"', '"status": "active"'), "not active"),
    "another reason in an event": (
        replaced("events.json", '"certificateHold"', '"superseded"'),
        "is not what audit record",
    ),
    "another time of an event": (later, "is not what audit record"),
    "an event left out": (without_event, "was left out"),
    "another record": (
        replaced("audit-records.jsonl", "certificate.suspend", "certificate.restore"),
        "links",
    ),
    "a record left out": (without_line("audit-records.jsonl", 1), "no audit record"),
    "a link left out": (without_line("audit-links.txt", 2), "the links lack record"),
    "the last link left out": (without_line("audit-links.txt", -2), "do not lead to the head"),
    "no head": (without_line("audit-links.txt", -1), "there is no head"),
    "no begin": (without_line("audit-links.txt", 0), "no begin"),
    "another certificate": (replaced("status.json", '"serial": "', '"serial": "1'), "another certificate"),
    "an event left out with its record": (without_suspension, "was left out"),
    "events in another order": (issued_last, "not in order"),
    "no issuance": (never_issued, "not begin with"),
    "another end of validity": (expired, "certificate.pem"),
    "another reason": (replaced("status.json", '"certificateHold"', '"superseded"'), "reason"),
    "another time of the change": (replaced("status.json", '"since": "2', '"since": "1'), "since"),
    "another hold": (replaced("status.json", '"holds": "holder"', '"holds": "authority"'), "holds"),
    "another file of the certificate": (of_another_certificate, "certificate.pem"),
    "no JSON": (replaced("events.json", "[", "("), "damaged"),
    "no events": (lambda folder: (folder / "events.json").write_text("[]"), "no status event"),
    "a deep nest": (lambda folder: (folder / "events.json").write_text("[" * 100_000), "damaged"),
}


class TestCheck:
    @pytest.fixture
    async def folder(self, case: Case, tmp_path: Path) -> Path:
        await case.evidence(tmp_path / "case", case.suspended + MINUTE)
        return tmp_path / "case"

    async def test_every_forgery_shows(self, folder: Path, tmp_path: Path) -> None:
        for number, (name, (spoil, said)) in enumerate(FORGERIES.items()):
            forged = tmp_path / f"forged-{number}"
            shutil.copytree(folder, forged)
            spoil(forged)
            names = sorted(path.name for path in forged.iterdir() if path.name != "SHA256SUMS")
            _, sums = await asyncio.to_thread(pasted, f"sha256sum {' '.join(names)}", forged)
            (forged / "SHA256SUMS").write_text(sums)
            with pytest.raises(PKIServerError) as refused:
                check_evidence(forged, None)
            assert said in str(refused.value), name

    async def test_every_file_is_covered(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            content = path.read_bytes()
            path.write_bytes(content + b" ")
            with pytest.raises(ConflictError):
                check_evidence(folder, None)
            path.write_bytes(content)
        check_evidence(folder, None)

    async def test_names_outside_of_the_folder_are_not_read(self, folder: Path) -> None:
        with (folder / "SHA256SUMS").open("a") as sums:
            sums.write(f"{'0' * 64}  ../../secret\n")
        with pytest.raises(ConflictError, match="no file of evidence"):
            check_evidence(folder, None)


class TestArchive:
    async def test_keeps_what_was_replaced_and_what_came(self, case: Case) -> None:
        named = (case.record.authority, case.record.serial)
        kept = await case.core.storage.read(
            lambda tx: tx.all("SELECT this_update FROM ocsp_archive ORDER BY id", ())
        )
        # The cycle may sign one anew in the very second of a change: then both are kept.
        times = list(dict.fromkeys(datetime.fromtimestamp(row[0], UTC) for row in kept))
        assert times == [case.issued, case.suspended, case.restored, case.revoked]
        second = timedelta(seconds=1)
        for moment, this_update in [
            (case.suspended - second, case.issued),
            (case.suspended, case.suspended),
            (case.revoked - second, case.restored),
            (case.clock.now(), case.revoked),
        ]:
            found = await case.core.storage.read(lambda tx, at=moment: ocsp_archive.at(tx, *named, at))  # type: ignore[misc]  # mypy infers no type for a lambda with defaults
            assert found is not None
            assert found.this_update == this_update

    async def test_keeps_nothing_of_an_issuance(self, plane: StatusPlane, issue: "Issue") -> None:
        await issue(plane.core)
        await plane.presigner.work()
        assert await plane.core.storage.read(lambda tx: tx.all("SELECT id FROM ocsp_archive", ())) == []

    async def test_a_store_that_cannot_be_written_does_not_hold_up_a_revocation(
        self, plane: StatusPlane, issue: "Issue", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        case = Case(plane, await issue(plane.core), clock)
        await plane.presigner.work()
        await case.run("certificate.revoke", reason="keyCompromise")

        def full(*_: object) -> None:
            raise UnavailableError("nothing can be stored now; try again later")

        monkeypatch.setattr(ocsp_archive, "add", full)
        head = await plane.core.storage.read(lambda tx: tx.all("SELECT max(sequence) FROM status_events", ()))
        await plane.presigner.work()
        assert plane.presigner.position == head[0][0]
