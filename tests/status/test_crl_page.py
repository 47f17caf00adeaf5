"""The page about CRLs: everything in its tables, nothing that a name could break, well formed."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pkiserver.status.crl_page import CARow, CRLRow, crl_page
from protocols.crl import NO_FURTHER_UPDATE

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FULL = CRLRow("citizen.crl", False, None, 41, NOW, NOW + timedelta(days=1), 1_234_567, 41_234_567, bytes(32))
DELTA = replace(FULL, name="citizen.delta.crl", is_delta=True, number=42, entries=0, size=412)
SHARD = replace(FULL, name="citizen-3.crl", shard=3, number=7, entries=12, size=1100)
CITIZEN = CARow(
    "citizen", "CN=Иргэний CA,O=Төр,C=MN", NOW + timedelta(days=3650), b"\xab" * 32,
    ("citizen.cer", "citizen.pem", "citizen.p7c"), (FULL, DELTA, SHARD),
)  # fmt: skip
_VOID = {"meta", "br"}


class Page(HTMLParser):
    """Reads a page; every element must be closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = dict(attrs)
        self.links += [href for href in (named.get("href"),) if href]
        self.ids += [identity for identity in (named.get("id"),) if identity]
        assert not [name for name in named if name.startswith("on") or name in {"src", "style"}]
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_each_crl_is_a_row_of_its_authority() -> None:
    page = Page(crl_page([CITIZEN], NOW))
    zeros = "00" * 32
    times = ["2026-03-01 12:00:00", "2026-03-02 12:00:00"]
    assert page.rows[1:] == [
        ["citizen.crl", "бүрэн full", "41", *times, "1,234,567", "41.2 MB", zeros],
        ["citizen.delta.crl", "өөрчлөлт delta", "42", *times, "0", "412 B", zeros],
        ["citizen-3.crl", "бүрэн, 3-р хэсэг full, shard 3", "7", *times, "12", "1.1 kB", zeros],
    ]


def test_the_links_lead_to_what_is_published() -> None:
    page = Page(crl_page([CITIZEN, replace(CITIZEN, name="root", crls=())], NOW))
    inner = [link for link in page.links if link.startswith("#")]
    assert inner == ["#ca-citizen", "#ca-root"]
    assert {link[1:] for link in inner} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    files = {f"/ca/citizen.{kind}" for kind in ("cer", "pem", "p7c")}
    crls = {f"/crl/{row.name}" for row in CITIZEN.crls}
    assert set(page.links) - set(inner) == files | crls


def test_there_is_no_script_and_nothing_from_elsewhere() -> None:
    page = Page(crl_page([CITIZEN], NOW))
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "form", "object", "base"})
    assert "url(" not in crl_page([CITIZEN], NOW)
    assert "@import" not in crl_page([CITIZEN], NOW)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", 'a" onclick="b', "$style & ${name}", "'>&lt;"])
def test_a_name_is_text_whatever_is_in_it(text: str) -> None:
    odd = replace(CITIZEN, name=text, subject=text, files=(text,), crls=(replace(FULL, name=text),))
    page = Page(crl_page([odd], NOW))
    assert "script" not in page.tags
    assert page.rows[1][0] == text
    assert f"/ca/{text}" in page.links


def test_the_last_crl_of_an_authority_is_said_to_be_that() -> None:
    last = replace(FULL, next_update=NO_FURTHER_UPDATE)
    assert Page(crl_page([replace(CITIZEN, crls=(last,))], NOW)).rows[1][4] == "сүүлчийнх the last one"


def test_an_authority_without_a_crl_and_no_authority_at_all() -> None:
    assert "No CRL yet." in crl_page([replace(CITIZEN, crls=())], NOW)
    assert "There are none yet." in crl_page([], NOW)


@pytest.mark.interop
def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "citizen")])
    later = now + timedelta(days=1)

    def certificate(number: int, *, ca: bool) -> bytes:
        builder = x509.CertificateBuilder(
            name, name if ca else x509.Name([]), key.public_key(), number, now, later
        )
        constraints = x509.BasicConstraints(ca=ca, path_length=None)
        return (
            builder.add_extension(constraints, critical=True)
            .sign(key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )

    revoked = x509.RevokedCertificateBuilder(3, now).build()
    crl = x509.CertificateRevocationListBuilder(name, now, later, [], [revoked])
    crl = crl.add_extension(x509.CRLNumber(1), critical=False)
    (tmp_path / "citizen.crl").write_bytes(crl.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    (tmp_path / "citizen.pem").write_bytes(certificate(1, ca=True))
    page = crl_page([CITIZEN], NOW)
    commands = page.partition("<pre>")[2].partition("</pre>")[0].splitlines()
    assert len(commands) == 3
    for serial, verified in ((2, True), (3, False)):
        (tmp_path / "certificate.pem").write_bytes(certificate(serial, ca=False))
        ended = [
            subprocess.run(line.split(), cwd=tmp_path, capture_output=True, text=True) for line in commands
        ]
        assert [run.returncode == 0 for run in ended] == [True, True, verified]
        assert "verify OK" in ended[0].stdout + ended[0].stderr
        assert verified or "revoked" in ended[2].stdout + ended[2].stderr
