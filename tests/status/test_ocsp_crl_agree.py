"""OCSP and CRL say the same of every certificate, whatever happened to it in whatever order."""

import asyncio
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from status_plane import StatusPlane, change, status_plane

from pkiserver.core import open_core
from pkiserver.errors import ConflictError
from pkiserver.home import Home
from store.records import CertificateRecord
from tests.conftest import FakeClock

if TYPE_CHECKING:
    from tests.conftest import Issue

CERTIFICATES = 3
COMMANDS = st.lists(
    st.tuples(
        st.integers(0, CERTIFICATES - 1),
        st.sampled_from(
            [
                ("suspend", {"by": "holder"}),
                ("suspend", {"by": "authority"}),
                ("restore", {"by": "holder"}),
                ("restore", {"by": "authority"}),
                ("revoke", {"reason": "keyCompromise"}),
                ("revoke", {"reason": "unspecified"}),
            ]
        ),
        st.integers(0, 7200),
    ),
    max_size=12,
)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(COMMANDS)
def test_after_any_commands(initialised_home: Path, issue: "Issue", commands: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(shutil.copytree(initialised_home, Path(folder) / "home"))
        asyncio.run(carry_out(home, issue, commands))


async def carry_out(home: Home, issue: "Issue", commands: list[Any]) -> None:
    clock = FakeClock(datetime.now(UTC).replace(microsecond=0))
    async with open_core(home, clock) as core, status_plane(core) as plane:
        await plane.presigner.prepare()
        records = [await issue(core, f"host-{number}.example.mn") for number in range(CERTIFICATES)]
        revoked: set[int] = set()
        for index, (action, arguments), seconds in commands:
            clock.advance(timedelta(seconds=seconds))
            try:
                await change(core, action, records[index], **arguments)
            except ConflictError:
                continue
            assert index not in revoked
            if action == "revoke":
                revoked.add(index)
        await plane.presigner.work()
        await core.crl_publisher.work()
        assert_agreed(plane, home, records, {records[index].serial for index in revoked})


def assert_agreed(
    plane: StatusPlane, home: Home, records: list[CertificateRecord], revoked: set[int]
) -> None:
    crl = x509.load_der_x509_crl((home.public / "crl" / "infrastructure.crl").read_bytes())
    for record in records:
        single = next(iter(plane.ask(record.serial).responses))
        entry = crl.get_revoked_certificate_by_serial_number(record.serial)
        if entry is None:
            assert plane.status(record.serial) == "good"
            continue
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            reason = None
        assert single.certificate_status.name == "REVOKED"
        assert (single.revocation_time_utc, single.revocation_reason) == (entry.revocation_date_utc, reason)
        assert (record.serial in revoked) == (reason is not x509.ReasonFlags.certificate_hold)
    assert revoked <= {entry.serial_number for entry in crl}
