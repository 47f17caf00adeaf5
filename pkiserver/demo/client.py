"""A client of a running server: the API and EST over TLS, OCSP over HTTP; every answer is bounded."""

import base64
import binascii
import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7

from pkiserver.demo.errors import DemoError
from pkiserver.home import PRIVATE_FILE_MODE, Home, write_file

API: Final = "/api/v1"
TIMEOUT_S: Final = 30.0
MAX_ANSWER_BYTES: Final = 1 << 20  # a list of a hundred applications takes a tenth of it
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not listened on


@dataclass(frozen=True, slots=True)
class Doors:
    """Where a server listens on this machine, as (host, port)."""

    http: tuple[str, int]
    https: tuple[str, int]


def doors(home: Home) -> Doors:
    """Return the doors of the running server; `DemoError` where one of both is closed."""
    try:
        said = json.loads(home.endpoints.read_text())
        found = [(str(host), int(port)) for host, port in (said["http"][0], said["https"][0])]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DemoError("the server has to listen for http and https, see [listen]") from error
    plain, tls = ((_ANY_ADDRESS.get(host, host), port) for host, port in found)
    return Doors(plain, tls)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered: status, headers in small letters, octets."""

    status: int
    headers: Mapping[str, str]
    octets: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that it is; `DemoError` where it is none."""
        try:
            found = json.loads(self.octets)
        except ValueError as error:
            raise DemoError("the API's answer is not JSON") from error
        if not isinstance(found, dict):
            raise DemoError("the API's answer is no JSON object")
        return found

    @property
    def etag(self) -> str:
        """The version that was shown."""
        return self.headers.get("etag", "")


class Client:
    """Somebody who asks over HTTPS, with a certificate or without; each request has its own connection."""

    def __init__(self, home: Home, where: Doors, files: tuple[Path, Path] | None = None) -> None:
        self._https = where.https
        self._tls = ssl.create_default_context(cafile=str(home.public / "ca" / "root.pem"))
        if files is not None:
            self._tls.load_cert_chain(*map(str, files))

    def get(self, path: str) -> Answer:
        """Read from the API; `DemoError` where it refuses."""
        return self._api("GET", path, {}, None)

    def post(self, path: str, body: Mapping[str, Any], seen: Answer | None = None) -> Answer:
        """Have something done over the API, to the version that an answer showed."""
        headers = {"Content-Type": "application/json"} | ({"If-Match": seen.etag} if seen else {})
        return self._api("POST", path, headers, json.dumps(body).encode())

    def put(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Set something over the API."""
        return self._api("PUT", path, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def post_list(self, path: str, text: str) -> Answer:
        """Send a list as CSV."""
        return self._api("POST", path, {"Content-Type": "text/csv"}, text.encode())

    def _api(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        return self._ask(method, API + path, headers, body)

    def enroll(self, credential: Mapping[str, str], key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        """Have a key certified over EST with a credential (RFC 7030 §4.2.1), which decides on the names."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        request = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        secret = f"{credential['reference']}:{credential['secret']}".encode()
        headers = {
            "Content-Type": "application/pkcs10",
            "Authorization": f"Basic {base64.b64encode(secret).decode()}",
        }
        path = "/.well-known/est/simpleenroll"
        answer = self._ask("POST", path, headers, base64.b64encode(request))
        try:
            (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.octets))
        except (ValueError, binascii.Error) as error:
            raise DemoError("EST answered something else than one certificate") from error
        return certificate

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        connection = http.client.HTTPSConnection(*self._https, timeout=TIMEOUT_S, context=self._tls)
        answer = exchanged(connection, method, path, headers, body)
        if answer.status != http.HTTPStatus.OK:
            raise DemoError(f"{method} {path} was answered {answer.status}: {_reason(answer)}")
        return answer


def exchanged(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None,
) -> Answer:
    """Return the answer to one request, whatever its status; `DemoError` where none comes, or too much."""
    try:
        with closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            octets = response.read(MAX_ANSWER_BYTES + 1)
            found = {name.lower(): value for name, value in response.getheaders()}
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(f"{method} {path} was not answered: {error}") from error
    if len(octets) > MAX_ANSWER_BYTES:
        raise DemoError(f"{method} {path} was answered with more than {MAX_ANSWER_BYTES} bytes")
    return Answer(response.status, found, octets)


def _reason(answer: Answer) -> str:
    """Return why something was refused: the problem's reason, or EST's line of text."""
    try:
        said = json.loads(answer.octets)["reason"]
    except (ValueError, LookupError, TypeError):
        said = answer.octets.decode("utf-8", "replace").strip()
    return str(said)[:300]


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a key of somebody in the story; it is kept nowhere."""
    return ec.generate_private_key(ec.SECP256R1())


def client_files(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> tuple[Path, Path]:
    """Write certificate and key as the TLS library reads them, into a folder that is removed afterwards."""
    files = folder / f"{name}.pem", folder / f"{name}.key"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for path, octets in zip(files, (certificate.public_bytes(Encoding.PEM), pem), strict=True):
        write_file(path, octets, PRIVATE_FILE_MODE)
    return files
