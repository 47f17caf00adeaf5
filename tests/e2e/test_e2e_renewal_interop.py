"""Regulation 2.9 on a running server: the holder signs the form with `openssl cms`, and fetches over EST.

The window of the profile is wide here, since OpenSSL signs by the clock of the machine.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from client_messages import Credential, Reply, ask, csr_for, key_pem, new_key
from consistency import database_rows
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from foreign_clients import save_certificate
from server_harness import Server, copied, running

from config.profile import SHIPPED_PROFILES
from tests.citizens import UNLIMITED_FORM as FORM

pytestmark = pytest.mark.interop

PATH = "/api/v1/renewals"
SARAA = FORM | {"register_number": "УК90061224", "civil_id": "123456789013", "birth_date": "1990-06-12"}


@dataclass(frozen=True)
class Holder:
    """Somebody with a signature certificate, in files as OpenSSL reads them."""

    certificate: x509.Certificate
    files: tuple[Path, Path]
    form: dict[str, Any]


@pytest.fixture(scope="module")
def openssl() -> str:
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("openssl is not installed")
    return found


@pytest.fixture(scope="module")
def office(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an office, a civil registry, and a window that is open."""
    home = copied(pristine, tmp_path_factory.mktemp("renewals") / "home")
    profile = (SHIPPED_PROFILES / "citizen-signature.toml").read_text()
    assert 'renewal_window = "60d"' in profile
    (home / "profiles").mkdir(exist_ok=True)
    (home / "profiles" / "citizen-signature.toml").write_text(profile.replace('"60d"', '"2000d"'))
    citizens = [
        {
            name: form[name]
            for name in ("register_number", "civil_id", "birth_date", "parent_name", "given_name")
        }
        | {"clan_name": None, "entitled": True}
        for form in (FORM, SARAA)
    ]
    (home / "civil-registry.jsonl").write_text("".join(json.dumps(one) + "\n" for one in citizens))
    with running(home) as server:
        hours = {"opens_at": "09:00", "closes_at": "18:00", "break_from": "13:00", "break_to": "14:00"}
        server.command("office.add", code="ub-1", name="Сүхбаатар", kind="branch", weekdays="12345", **hours)
        yield server


def issued(server: Server, folder: Path, form: dict[str, Any]) -> Holder:
    """Have a citizen apply at the office and enrol."""
    made = server.command(
        "application.create",
        office="ub-1",
        fields=form,
        channel="branch",
        carrier="id_card",
        profile="citizen-signature",
    )
    server.command(
        "application.verify", application=made["id"], fingerprint=None, reason="no reader", version=None
    )
    new = server.command("application.issue", application=made["id"], use="est", version=None)
    key = new_key()
    certificate = enrolled(server, key, new)
    folder.mkdir()
    (folder / "key.pem").write_bytes(key_pem(key))
    return Holder(certificate, (save_certificate(folder / "cert.pem", certificate), folder / "key.pem"), form)


def enrolled(server: Server, key: ec.EllipticCurvePrivateKey, new: dict[str, str]) -> x509.Certificate:
    return server.enroll(Credential(new["reference"], new["secret"]), csr_for(key)).certificate()


def post(server: Server, path: str, body: bytes = b"", content_type: str = "application/cms") -> Reply:
    connection = server.connection()
    try:
        return ask(connection, "POST", path, body, {"Content-Type": content_type})
    finally:
        connection.close()


def challenge(server: Server) -> str:
    reply = post(server, f"{PATH}/challenge")
    assert reply.status == 200, reply.body
    text = json.loads(reply.body)["challenge"]
    assert isinstance(text, str)
    return text


def application(server: Server, form: dict[str, Any]) -> bytes:
    values = {"type": "renewal", "challenge": challenge(server), "profile": "citizen-signature"}
    return json.dumps(values | {"carrier": "id_card", "use": "est", "form": form}).encode()


def signed(
    openssl: str, content: bytes, *holders: Holder, options: tuple[str, ...] = ("-nodetach",)
) -> bytes:
    """Return what `openssl cms -sign` makes of a content."""
    signers = [
        part for one in holders for part in ("-signer", str(one.files[0]), "-inkey", str(one.files[1]))
    ]
    command = [openssl, "cms", "-sign", "-binary", "-outform", "DER", *options, *signers]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


def refused(reply: Reply, status: int, kind: str) -> None:
    problem = json.loads(reply.body)
    assert (reply.status, problem["kind"]) == (status, kind), reply.body


@pytest.mark.parametrize(
    ("options", "content_type"),
    [
        (("-nodetach",), "application/cms"),
        (("-nodetach", "-cades"), "application/pkcs7-mime; smime-type=signed-data"),
        (("-nodetach", "-stream", "-indef"), "application/cms"),
        (("-nodetach", "-keyid", "-md", "sha384"), "application/cms"),
    ],
    ids=["plain", "cades", "ber", "keyid"],
)
def test_regulation_2_9_a_citizen_renews_online(
    office: Server, openssl: str, tmp_path: Path, options: tuple[str, ...], content_type: str
) -> None:
    holder = issued(office, tmp_path / "holder", FORM)
    message = signed(openssl, application(office, FORM), holder, options=options)
    reply = post(office, PATH, message, content_type)
    assert reply.status == 200, reply.body
    given = json.loads(reply.body)
    assert (given["profile"], given["use"]) == ("citizen-signature", "est")
    renewed = enrolled(office, new_key(), given)
    assert renewed.subject == holder.certificate.subject
    assert renewed.serial_number != holder.certificate.serial_number
    shown = office.command("application.show", application=given["application"])
    assert (shown["state"], shown["proof"], shown["channel"]) == ("issued", "own_signature", "online")
    # Sent again it is taken no second time.
    refused(post(office, PATH, message, content_type), 409, "conflict")
    numbers = database_rows(office.home, "SELECT count(*) FROM renewals")
    assert post(office, PATH, message).status == 409
    assert database_rows(office.home, "SELECT count(*) FROM renewals") == numbers


def test_what_proves_nothing_is_refused(office: Server, openssl: str, tmp_path: Path) -> None:
    dorj = issued(office, tmp_path / "dorj", FORM)
    saraa = issued(office, tmp_path / "saraa", SARAA)
    form = application(office, FORM)
    plain = ("-nodetach",)
    for holders, options, status, kind in (
        ((saraa,), plain, 403, "not_authorized"),
        ((dorj, saraa), plain, 400, "bad_request"),
        ((dorj,), (), 400, "bad_message_check"),
        ((dorj,), (*plain, "-md", "sha1"), 400, "bad_message_check"),
        ((dorj,), (*plain, "-noattr"), 400, "bad_message_check"),
        ((dorj,), (*plain, "-nocerts"), 400, "bad_message_check"),
    ):
        refused(post(office, PATH, signed(openssl, form, *holders, options=options)), status, kind)
    refused(post(office, PATH, signed(openssl, form, dorj), "text/plain"), 415, "unsupported_media_type")
    refused(post(office, PATH, bytes(30_000)), 413, "too_large")
    assert post(office, PATH, bytes(200_000)).status == 413
    office.suspend(dorj.certificate)
    refused(post(office, PATH, signed(openssl, form, dorj)), 403, "not_authorized")
    office.restore(dorj.certificate)
    assert post(office, PATH, signed(openssl, form, dorj)).status == 200


def test_the_doors_are_bounded(office: Server) -> None:
    """Last in this file: the address has had its share of a minute then."""
    statuses = [post(office, f"{PATH}/challenge").status for _ in range(61)]
    assert set(statuses) == {200, 429}
    assert statuses[-1] == 429
