"""Every kind of CRL, built by our encoders: our own lint, pkilint and OpenSSL agree on it.

A scene is what a relying party has fetched, complete CRL and delta, and what OpenSSL makes of certificates.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pytest
from crl_breaches import (
    ALGORITHM,
    BASES,
    BREACHES,
    DAY,
    HOUR,
    IDENTIFIER,
    ISSUER,
    KEY,
    NOW,
    SUBJECT,
    Breach,
    parts_of,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pkilint.bin import lint_crl as pkilint

from pkiserver.ca.lint_crl import CRLFacts, PublishedCRL, lint_crl
from protocols.asn1 import der
from protocols.crl import NO_FURTHER_UPDATE, assemble_crl, build_tbs_cert_list, revoked_entry
from protocols.crl_extensions import (
    delta_crl_indicator,
    expired_certs_on_crl,
    freshest_crl,
    issuing_distribution_point,
)

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("crl-corpus")]

URL = "http://pki.example.mn/crl/citizen"
YEAR = 365 * DAY
HOLD, REMOVE, COMPROMISE, SUPERSEDED = 6, 8, 1, 4


# ---- CRLs


@dataclass(frozen=True)
class Scope:
    """What a CRL covers: all certificates, or those of one shard."""

    shard: int = 0
    has_deltas: bool = False

    @property
    def url(self) -> str:
        return f"{URL}-{self.shard}.crl" if self.shard else f"{URL}.crl"

    @property
    def delta_url(self) -> str:
        return self.url.replace(".crl", ".delta.crl")


@dataclass(frozen=True)
class Entry:
    """One entry: when, why, and since when in truth."""

    serial: int
    revoked_at: datetime
    reason: int | None = None
    invalidity_date: datetime | None = None


@dataclass(frozen=True)
class CRL:
    """A CRL of a scope, complete or the delta to `base`."""

    scope: Scope
    number: int
    at: datetime
    entries: Sequence[Entry] = ()
    base: PublishedCRL | None = None
    next_update: datetime | None = None
    expired_since: datetime | None = None

    @property
    def facts(self) -> CRLFacts:
        scope = self.scope
        return CRLFacts(
            issuer=ISSUER,
            signature_algorithm=ALGORITHM,
            number=self.number,
            this_update=self.at,
            next_update=self.next_update or self.at + DAY,
            previous=PublishedCRL(self.number - 1, self.at - HOUR),
            base=self.base,
            shard_url=scope.url if scope.shard else None,
            delta_url=scope.delta_url if scope.has_deltas and self.base is None else None,
            expired_since=self.expired_since,
            is_last=self.next_update == NO_FURTHER_UPDATE,
        )

    @property
    def tbs(self) -> bytes:
        facts = self.facts
        extensions = [
            *([delta_crl_indicator(facts.base.number)] if facts.base else []),
            *([issuing_distribution_point(facts.shard_url)] if facts.shard_url else []),
            *([freshest_crl([facts.delta_url])] if facts.delta_url else []),
            *([expired_certs_on_crl(facts.expired_since)] if facts.expired_since else []),
        ]
        entries = (revoked_entry(e.serial, e.revoked_at, e.reason, e.invalidity_date) for e in self.entries)
        return build_tbs_cert_list(
            ALGORITHM, SUBJECT, self.at, facts.next_update, entries, IDENTIFIER, self.number, extensions
        )

    @property
    def der(self) -> bytes:
        return signed(self.tbs)


def signed(tbs: bytes) -> bytes:
    return assemble_crl(tbs, ALGORITHM, KEY.sign(tbs, ec.ECDSA(hashes.SHA256())))


PLAIN, WITH_DELTAS = Scope(), Scope(has_deltas=True)
SHARD = Scope(7, has_deltas=True)
BASE = PublishedCRL(9, NOW)
HELD = Entry(5, NOW - HOUR, HOLD)
REVOKED = Entry(6, NOW - HOUR, COMPROMISE, NOW - DAY)
PLAINLY = Entry(7, NOW - HOUR)
LATER = NOW + HOUR

CRLS = {
    "empty": CRL(PLAIN, 9, NOW),
    "full": CRL(PLAIN, 9, NOW, [HELD, REVOKED, PLAINLY]),
    "full with freshest": CRL(WITH_DELTAS, 9, NOW, [HELD, REVOKED]),
    "delta, nothing new": CRL(WITH_DELTAS, 10, LATER, base=BASE),
    "delta, revoked": CRL(WITH_DELTAS, 10, LATER, [Entry(8, LATER, SUPERSEDED)], BASE),
    "delta, restored": CRL(WITH_DELTAS, 10, LATER, [Entry(5, LATER, REMOVE)], BASE),
    # Revoked for good, from the moment of the hold on.
    "delta, hold to revocation": CRL(WITH_DELTAS, 10, LATER, [replace(HELD, reason=COMPROMISE)], BASE),
    "delta to a later base": CRL(WITH_DELTAS, 11, LATER, [Entry(8, LATER)], PublishedCRL(10, NOW)),
    "full after restoring": CRL(WITH_DELTAS, 11, LATER, [REVOKED]),
    "shard": CRL(SHARD, 9, NOW, [HELD, REVOKED]),
    "shard's delta": CRL(SHARD, 10, LATER, [Entry(5, LATER, REMOVE), Entry(8, LATER)], BASE),
    "another shard": CRL(replace(SHARD, shard=8), 9, NOW, [HELD]),
    "kept expired": CRL(PLAIN, 9, NOW + YEAR, [REVOKED], expired_since=ISSUER.not_valid_before_utc),
    "last": CRL(PLAIN, 9, NOW, [HELD, REVOKED], next_update=NO_FURTHER_UPDATE),
    "from 2050 on": CRL(PLAIN, 9, NOW, [Entry(5, NOW, None, datetime(2051, 1, 1, tzinfo=NOW.tzinfo))]),
}


@pytest.mark.parametrize("crl", CRLS.values(), ids=CRLS)
def test_own_lint_finds_nothing(crl: CRL) -> None:
    assert lint_crl(crl.tbs, crl.facts) == []


def pkilint_finds(file: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what it finds, or why it cannot read the file."""
    file.write_bytes(content)
    found = pkilint.main(["lint", "-t", "CRL", "-p", "PKIX", "-s", "NOTICE", str(file)])
    said = capsys.readouterr()
    assert bool(found) == bool(said.out.strip() or said.err)
    return said.out.strip() + said.err


@pytest.mark.parametrize("crl", CRLS.values(), ids=CRLS)
def test_pkilint_finds_nothing(crl: CRL, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pkilint_finds(tmp_path / "crl.der", crl.der, capsys) == ""


OPENSSL_PRINTS = {
    "full": ["CRL Number", "Certificate Hold", "Key Compromise", "Invalidity Date"],
    "full with freshest": ["X509v3 Freshest CRL", "URI:http://pki.example.mn/crl/citizen.delta.crl"],
    "delta, restored": ["X509v3 Delta CRL Indicator: critical", "Remove From CRL"],
    "shard": [
        "X509v3 Issuing Distribution Point: critical",
        "URI:http://pki.example.mn/crl/citizen-7.crl",
    ],
    "last": ["Next Update: Dec 31 23:59:59 9999 GMT"],
    "kept expired": ["2.5.29.60"],
}


@pytest.mark.parametrize("name", CRLS)
def test_openssl_verifies_and_prints_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "crl.der").write_bytes(CRLS[name].der)
    (tmp_path / "ca.pem").write_bytes(ISSUER.public_bytes(Encoding.PEM))
    said = openssl(
        tmp_path, "crl", "-in", "crl.der", "-inform", "DER", "-CAfile", "ca.pem", "-noout", "-text"
    )
    assert "verify OK" in said
    assert said.count("Serial Number:") == len(CRLS[name].entries)
    assert [text for text in OPENSSL_PRINTS.get(name, []) if text not in said] == []


# ---- what OpenSSL says of certificates


GOOD, IS_REVOKED, EXPIRED = "OK", "certificate revoked", "certificate has expired"
NO_CRL, OTHER_SCOPE, CRL_EXPIRED = "unable to get certificate CRL", "Different CRL scope", "CRL has expired"


@dataclass(frozen=True)
class Scene:
    """CRLs that were fetched, the time, and the verdicts: serial of a certificate of `scope` to words."""

    crls: Sequence[str]
    verdicts: dict[int, str]
    scope: Scope = PLAIN
    at: datetime = LATER + HOUR
    options: Sequence[str] = field(default=("-extended_crl", "-use_deltas"))


SCENES = {
    "empty": Scene(["empty"], {5: GOOD}),
    "full": Scene(["full"], {4: GOOD, 5: IS_REVOKED, 6: IS_REVOKED, 7: IS_REVOKED}),
    "full, for those who know no more": Scene(["full"], {4: GOOD, 5: IS_REVOKED}, options=()),
    "full past its end": Scene(["full"], {4: CRL_EXPIRED}, at=NOW + 2 * DAY),
    "delta, nothing new": Scene(
        ["full with freshest", "delta, nothing new"], {4: GOOD, 5: IS_REVOKED}, WITH_DELTAS
    ),
    "delta, revoked": Scene(
        ["full with freshest", "delta, revoked"], {4: GOOD, 5: IS_REVOKED, 8: IS_REVOKED}, WITH_DELTAS
    ),
    "delta, restored": Scene(
        ["full with freshest", "delta, restored"], {5: GOOD, 6: IS_REVOKED, 8: GOOD}, WITH_DELTAS
    ),
    "delta, restored, for those who take no deltas": Scene(
        ["full with freshest", "delta, restored"], {5: IS_REVOKED}, WITH_DELTAS, options=()
    ),
    "delta, hold to revocation": Scene(
        ["full with freshest", "delta, hold to revocation"], {5: IS_REVOKED, 8: GOOD}, WITH_DELTAS
    ),
    "a delta to a base that was not fetched adds nothing": Scene(
        ["full with freshest", "delta to a later base"], {5: IS_REVOKED, 8: GOOD}, WITH_DELTAS
    ),
    "full after restoring": Scene(["full after restoring"], {5: GOOD, 6: IS_REVOKED}, WITH_DELTAS),
    "shard": Scene(["shard"], {4: GOOD, 5: IS_REVOKED, 6: IS_REVOKED}, SHARD),
    "shard's delta": Scene(
        ["shard", "shard's delta"], {4: GOOD, 5: GOOD, 6: IS_REVOKED, 8: IS_REVOKED}, SHARD
    ),
    "another shard tells nothing": Scene(["another shard"], {4: OTHER_SCOPE, 5: OTHER_SCOPE}, SHARD),
    "a certificate without a shard finds nothing in one": Scene(["shard"], {5: OTHER_SCOPE}),
    "no CRL": Scene([], {4: NO_CRL}),
    "kept expired": Scene(["kept expired"], {3: EXPIRED, 6: IS_REVOKED}, at=NOW + YEAR + HOUR),
    "last": Scene(["last"], {4: GOOD, 6: IS_REVOKED}, at=NOW + 5 * YEAR),
}
EXPIRING = {3, 6}  # these certificates end after half a year; the others outlive every scene


def openssl(folder: Path, *words: str) -> str:
    ran = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr


def certificate(serial: int, scope: Scope) -> x509.Certificate:
    def points(url: str) -> list[x509.DistributionPoint]:
        return [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)]

    end = NOW + YEAR / 2 if serial in EXPIRING else NOW + 8 * YEAR
    builder = x509.CertificateBuilder(
        ISSUER.subject,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"holder {serial}")]),
        KEY.public_key(),
        serial,
        NOW - 2 * DAY,
        end,
    )
    builder = builder.add_extension(x509.CRLDistributionPoints(points(scope.url)), critical=False)
    if scope.has_deltas:
        builder = builder.add_extension(x509.FreshestCRL(points(scope.delta_url)), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier(IDENTIFIER, None, None), critical=False)
    return builder.sign(KEY, hashes.SHA256())


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_openssl_comes_to_our_verdict(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(ISSUER.public_bytes(Encoding.PEM))
    files = []
    for number, name in enumerate(scene.crls):
        crl = x509.load_der_x509_crl(CRLS[name].der)
        (tmp_path / f"{number}.pem").write_bytes(crl.public_bytes(Encoding.PEM))
        files += ["-CRLfile", f"{number}.pem"]
    for serial, verdict in scene.verdicts.items():
        (tmp_path / "leaf.pem").write_bytes(certificate(serial, scene.scope).public_bytes(Encoding.PEM))
        at = ["-attime", str(int(scene.at.timestamp()))]
        said = openssl(
            tmp_path, "verify", "-crl_check", *scene.options, *at, "-CAfile", "ca.pem", *files, "leaf.pem"
        )
        assert verdict.lower() in said.lower(), serial
        assert ("leaf.pem: OK" in said) == (verdict == GOOD)


# ---- what breaks a rule


PKILINT_KNOWS = {
    "crl_aki",
    "crl_criticality",
    "crl_entry_certificate_issuer",
    "crl_entry_dates",
    "crl_entry_extensions",
    "crl_entry_reason",
    "crl_entry_serial",
    "crl_extensions_known",
    "crl_issuer_name",
    "crl_next_update",
    "crl_number",
    "crl_time_encoding",
    "crl_version",
}


def test_what_pkilint_finds_ours_finds_and_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # It does not read what has another structure, and its decoder panics at some onlySomeReasons.
    readable = [case for case in BREACHES if case.rule not in ("crl_structure", "crl_idp_limits")]
    known = {case.rule for case in readable if pkilint_refuses(case, tmp_path, capsys)}
    assert known == PKILINT_KNOWS


def pkilint_refuses(case: Breach, folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    tbs = case.change(parts_of(case.base)).encode()
    facts = replace(BASES[case.base][0], **case.facts)
    crl = der.sequence(tbs, ALGORITHM, der.bit_string(b"\x30\x00"))
    found = bool(pkilint_finds(folder / "crl.der", crl, capsys))
    assert not found or lint_crl(tbs, facts)
    return found
