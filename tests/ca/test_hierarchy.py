"""Setting the authorities up, after any cut, and keeping what the server itself needs current."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from config.profile import SHIPPED_PROFILES
from config.reference import reference
from pkiserver.ca.hierarchy import responder_name
from pkiserver.ca.own_certificates import renewal_due
from pkiserver.ca.server_certificates import server_certificate, server_san
from pkiserver.clock import Clock
from pkiserver.core import Core, open_core
from pkiserver.errors import ConflictError, UnavailableError
from pkiserver.home import Home
from pkiserver.initialise import initialise
from protocols.errors import MalformedError
from protocols.x509.names import parse_subject
from store import authorities, certificates, issuances

if TYPE_CHECKING:
    from tests.conftest import FakeClock

NAMES = ["root", "citizen", "government", "infrastructure"]
DAY = timedelta(days=1)


class CutError(Exception):
    """The process ends here."""


def begun(path: Path, initialised_home: Path) -> Home:
    """A home that has its configuration and passphrase and nothing else."""
    home = Home(path)
    home.make()
    home.configuration.write_text(reference())
    shutil.copy(Home(initialised_home).keys / "passphrase", home.keys / "passphrase")
    return home


async def set_up(core: Core) -> None:
    await core.issuance.recover()
    await core.hierarchy.set_up(lambda _: None)
    await core.server_certificates.maintain()


def cut_after(core: Core, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the steps that leave something behind (writes, new keys, signatures) fail after so many."""
    left = steps

    def counted(work: Any) -> Any:
        async def step(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            if left == 0:
                raise CutError
            left -= 1
            return await work(*arguments)

        return step

    for owner, name in ((core.storage, "write"), (core.signer, "generate"), (core.signer, "sign")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


async def assert_complete(core: Core) -> None:
    """Everything is there exactly once, and each certificate is issued by the authority above."""
    assert [authority.name for authority in core.authorities] == NAMES
    root = core.authorities.get("root").certificate
    for authority in core.authorities:
        authority.certificate.verify_directly_issued_by(root)
        responder = core.authorities.responder(authority.id)
        assert responder is not None
        responder.certificate.verify_directly_issued_by(authority.certificate)
        responder.certificate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    assert len(await core.storage.read(authorities.all_responders)) == len(NAMES)
    assert await core.signer.labels() == sorted(
        [f"ca-{name}" for name in NAMES] + [f"ocsp-{name}-1" for name in NAMES]
    )
    assert await core.storage.read(issuances.unfinished) == []
    rows = await core.storage.read(
        lambda tx: certificates.newest(tx, authorities=None, state=None, now=core.clock.now(), limit=1000)
    )
    own = [row for row in rows if row.profile in ("root-ca", "issuing-ca", "ocsp-responder")]
    assert len(own) == 2 * len(NAMES)


async def test_cut_anywhere_it_is_finished_by_running_it_again(
    initialised_home: Path, tmp_path: Path, clock: "FakeClock"
) -> None:
    """Seven steps at a time: enough to void or finish what is open and to issue one more."""
    home = begun(tmp_path / "home", initialised_home)
    cuts = 0
    while True:
        async with open_core(home, clock) as core:
            with pytest.MonkeyPatch.context() as patch:
                cut_after(core, 7, patch)
                try:
                    await set_up(core)
                    break
                except CutError:
                    cuts += 1
        assert cuts < 60
    assert cuts > 3
    async with open_core(home, clock) as core:
        await assert_complete(core)
        before = core.signer.signatures
        await set_up(core)
        assert core.signer.signatures == before


@pytest.mark.parametrize("steps", [0, 2, 3, 4, 5, 6, 7, 29, 31, 33])
async def test_cut_once_at_the_steps_of_an_authority_and_a_responder(
    initialised_home: Path, tmp_path: Path, clock: "FakeClock", steps: int
) -> None:
    home = begun(tmp_path / "home", initialised_home)
    async with open_core(home, clock) as core:
        with pytest.MonkeyPatch.context() as patch:
            cut_after(core, steps, patch)
            with pytest.raises(CutError):
                await set_up(core)
    async with open_core(home, clock) as core:
        await set_up(core)
        await assert_complete(core)


async def test_the_shipped_hierarchy_is_complete(core: Core) -> None:
    await assert_complete(core)


async def test_responders_are_renewed_in_time_and_the_old_ones_kept(core: Core, clock: "FakeClock") -> None:
    first = {authority.id: core.authorities.responder(authority.id) for authority in core.authorities}
    clock.advance(59 * DAY)
    assert await core.hierarchy.maintain() is False
    clock.advance(2 * DAY)
    assert await core.hierarchy.maintain() is True
    for authority in core.authorities:
        old, new = first[authority.id], core.authorities.responder(authority.id)
        assert old is not None
        assert new is not None
        assert new.key_label == f"ocsp-{authority.name}-2"
        assert new.certificate.public_key() != old.certificate.public_key()
        assert new.certificate.not_valid_after_utc == clock.now() + 90 * DAY - timedelta(seconds=1)
        assert new.certificate.subject != old.certificate.subject
        assert old.certificate.not_valid_after_utc > clock.now() + 28 * DAY
    assert await core.hierarchy.maintain() is False
    assert len(await core.storage.read(authorities.all_responders)) == 2 * len(NAMES)


async def test_responders_are_renewed_after_a_long_absence(core: Core, clock: "FakeClock") -> None:
    clock.advance(400 * DAY)
    assert await core.hierarchy.maintain() is True
    for authority in core.authorities:
        responder = core.authorities.responder(authority.id)
        assert responder is not None
        assert responder.certificate.not_valid_before_utc == clock.now()


async def test_a_renewal_cut_short_is_finished(core: Core, clock: "FakeClock") -> None:
    clock.advance(61 * DAY)
    for steps in range(6):
        with pytest.MonkeyPatch.context() as patch:
            cut_after(core, steps, patch)
            with pytest.raises(CutError):
                await core.hierarchy.maintain()
    await core.issuance.recover()
    await core.hierarchy.maintain()
    rows = await core.storage.read(authorities.all_responders)
    assert sorted(row.key_label for row in rows) == sorted(
        f"ocsp-{name}-{n}" for name in NAMES for n in (1, 2)
    )


async def test_nothing_is_renewed_while_issuing_stands_still(core: Core, clock: "FakeClock") -> None:
    core.readiness.causes()
    clock.advance(61 * DAY)
    core.readiness.gate()
    clock.advance(-1 * DAY)
    with pytest.raises(UnavailableError):
        await core.hierarchy.maintain()


def test_a_third_of_the_lifetime_before_the_end_renewal_is_due(core: Core) -> None:
    issuer = core.authorities.get("citizen")
    responder = core.authorities.responder(issuer.id)
    assert responder is not None
    certificate = responder.certificate
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    edge = certificate.not_valid_after_utc - lifetime / 3
    assert renewal_due(certificate, issuer.certificate, edge) is False
    assert renewal_due(certificate, issuer.certificate, edge + timedelta(seconds=1)) is True
    assert renewal_due(issuer.certificate, issuer.certificate, edge + 10 * 365 * DAY) is False


async def test_near_an_authoritys_end_its_certificates_end_with_it(
    core: Core, clock: "FakeClock", capsys: pytest.CaptureFixture[str]
) -> None:
    infrastructure = core.authorities.get("infrastructure")
    end = infrastructure.certificate.not_valid_after_utc
    clock.moment = end - 80 * DAY
    assert await core.hierarchy.maintain() is True
    assert await core.server_certificates.maintain() is True
    for authority in core.authorities:
        responder = core.authorities.responder(authority.id)
        assert responder is not None
        own_end = authority.certificate.not_valid_after_utc
        assert responder.certificate.not_valid_after_utc == min(
            own_end, clock.now() + 90 * DAY - timedelta(seconds=1)
        )
    server = server_certificate(core.home)
    assert server is not None
    assert server.not_valid_after_utc == end
    assert "certificate-ends-with-its-issuer" in "".join(capsys.readouterr())
    clock.moment = end - DAY  # nothing is gained by another
    assert await core.server_certificates.maintain() is False
    await core.hierarchy.maintain()
    assert core.authorities.responder(infrastructure.id).key_label == "ocsp-infrastructure-2"  # type: ignore[union-attr]  # it is there
    clock.moment = end + DAY
    await core.hierarchy.maintain()


async def test_one_authority_that_cannot_does_not_hold_up_the_others(
    core: Core, clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = core.signer.sign

    async def failing(label: str, data: bytes) -> bytes:
        if label in ("ca-root", "ca-citizen"):
            raise MalformedError("out of order")
        return await sign(label, data)

    monkeypatch.setattr(core.signer, "sign", failing)
    clock.advance(61 * DAY)
    with pytest.raises(UnavailableError, match=r"of root: out of order; .* of citizen: out of order"):
        await core.hierarchy.maintain()
    for name, number in (("root", 1), ("citizen", 1), ("government", 2), ("infrastructure", 2)):
        responder = core.authorities.responder(core.authorities.get(name).id)
        assert responder is not None
        assert responder.key_label == f"ocsp-{name}-{number}"


def test_a_responder_is_named_after_its_authority() -> None:
    name = parse_subject("CN=Иргэний CA,O=Agency,C=MN")
    assert responder_name(name, 3).rfc4514_string() == "CN=Иргэний CA OCSP 3,O=Agency,C=MN"


@asynccontextmanager
async def opened(home: Home, clock: "FakeClock", *names: str) -> AsyncIterator[Core]:
    """A core whose HTTPS server is to have these names."""
    text = home.configuration.read_text()
    old = 'server_names = ["localhost", "127.0.0.1", "::1"]'
    assert old in text or not names
    wanted = ", ".join(f'"{name}"' for name in names)
    if names:
        home.configuration.write_text(text.replace(old, f"server_names = [{wanted}]"))
    async with open_core(home, clock) as core:
        yield core


class TestServerCertificate:
    async def test_stays_while_nothing_changes(self, home: Home, clock: "FakeClock") -> None:
        before = server_certificate(home)
        async with opened(home, clock) as core:
            assert await core.server_certificates.maintain() is False
        assert server_certificate(home) == before

    async def test_is_renewed_when_the_names_change(self, home: Home, clock: "FakeClock") -> None:
        async with opened(home, clock, "pki.example.mn", "192.0.2.7") as core:
            assert await core.server_certificates.maintain() is True
            assert await core.server_certificates.maintain() is False
        certificate = server_certificate(home)
        assert certificate is not None
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["pki.example.mn"]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]

    async def test_is_renewed_near_its_end(self, home: Home, clock: "FakeClock") -> None:
        before = server_certificate(home)
        assert before is not None
        async with opened(home, clock) as core:
            clock.moment = before.not_valid_after_utc - timedelta(days=133)
            assert await core.server_certificates.maintain() is False
            clock.moment = before.not_valid_after_utc - timedelta(days=132)
            assert await core.server_certificates.maintain() is True
        after = server_certificate(home)
        assert after is not None
        assert after.not_valid_before_utc == clock.now()

    @pytest.mark.parametrize("damage", [None, b"", b"not a certificate\n"])
    async def test_is_made_again_when_the_file_is_gone_or_damaged(
        self, home: Home, clock: "FakeClock", damage: bytes | None
    ) -> None:
        path = home.tls / "server.pem"
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        assert server_certificate(home) is None
        async with opened(home, clock) as core:
            assert await core.server_certificates.maintain() is True
        assert server_certificate(home) is not None

    async def test_comes_with_its_key_and_chain_and_for_the_owner_alone(
        self, home: Home, clock: "FakeClock"
    ) -> None:
        path = home.tls / "server.pem"
        assert path.stat().st_mode & 0o777 == 0o600
        key = load_pem_private_key(path.read_bytes(), None)
        chain = x509.load_pem_x509_certificates(path.read_bytes())
        assert chain[0].public_key() == key.public_key()
        async with opened(home, clock) as core:
            assert chain[1:] == [core.authorities.get("infrastructure").certificate]

    @pytest.mark.parametrize(
        ("name", "text"),
        [("pki.example.mn", "dns:pki.example.mn"), ("192.0.2.1", "ip:192.0.2.1"), ("::1", "ip:::1")],
    )
    def test_names_of_the_configuration(self, name: str, text: str) -> None:
        assert server_san(name) == text

    async def test_a_name_too_long_for_a_common_name_is_an_alternative_name_only(
        self, home: Home, clock: "FakeClock"
    ) -> None:
        name = f"{'a' * 60}.example.mn"
        async with opened(home, clock, name) as core:
            assert await core.server_certificates.maintain() is True
            assert await core.server_certificates.maintain() is False
        certificate = server_certificate(home)
        assert certificate is not None
        assert len(certificate.subject) == 0
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.critical
        assert names.value.get_values_for_type(x509.DNSName) == [name]

    async def test_is_made_though_the_administrators_cannot_be(self, home: Home, clock: "FakeClock") -> None:
        (home.administrator / "administrator.p12").unlink()
        (home.tls / "server.pem").unlink()
        (home.profiles / "administrator.toml").write_text(
            (SHIPPED_PROFILES / "administrator.toml")
            .read_text()
            .replace('source = "credential"\nrequired = false', 'source = "credential"', 1)
        )
        async with opened(home, clock) as core:
            with pytest.raises(UnavailableError, match=r"administrator: .*organizationName is required"):
                await core.server_certificates.maintain()
        assert server_certificate(home) is not None


class TestAdministrator:
    async def test_is_what_its_profile_says(self, home: Home) -> None:
        pem = (home.administrator / "administrator.pem").read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        assert certificate.subject == parse_subject("CN=Administrator,C=MN")

    async def test_is_complete(self, home: Home) -> None:
        password = (home.administrator / "password").read_bytes().strip()
        bundle = pkcs12.load_pkcs12((home.administrator / "administrator.p12").read_bytes(), password)
        key = load_pem_private_key((home.administrator / "administrator.pem").read_bytes(), password)
        assert bundle.cert is not None
        assert bundle.key is not None
        assert bundle.cert.certificate.public_key() == bundle.key.public_key() == key.public_key()
        assert {path.stat().st_mode & 0o777 for path in home.administrator.iterdir()} == {0o600}

    async def test_is_made_again_where_it_was_cut(self, home: Home, clock: "FakeClock") -> None:
        (home.administrator / "administrator.p12").unlink()
        async with opened(home, clock) as core:
            await core.server_certificates.maintain()
        await self.test_is_complete(home)


async def test_an_offline_root_leaves_the_others_waiting(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    await asyncio.wait_for(initialise(home, None, offline_root=True, progress=lambda _: None), 60)
    async with open_core(home, Clock()) as core:
        assert [record.name for record in core.authorities.pending] == NAMES
        assert await core.signer.labels() == sorted(f"ca-{name}" for name in NAMES[1:])
        assert core.authorities.record("root").key_label is None


async def test_an_authority_that_left_the_configuration_is_named(home: Home, clock: "FakeClock") -> None:
    """Its certificates still need CRLs and OCSP."""
    async with open_core(home, clock) as core:
        await core.storage.write(lambda tx: authorities.add_authority(tx, "devices", "root", "ca-devices"))
    with pytest.raises(ConflictError, match=r"add \[authorities.devices\] again"):
        async with open_core(home, clock):
            pass
