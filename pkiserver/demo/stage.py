"""Where a demonstration is played: a running server, actors of its own, people whom the registry knows.

Every certificate that it had issued is revoked, and its actors are removed, when it ends, however it ends.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from config.loader import load_settings
from pkiserver.bounds import MAX_LIST
from pkiserver.control import call
from pkiserver.demo.client import Client, Doors, client_files, doors, new_key
from pkiserver.demo.errors import DemoError
from pkiserver.demo.people import registry_lines
from pkiserver.errors import PKIServerError
from pkiserver.home import PRIVATE_FILE_MODE, Home, write_file
from pkiserver.progress import silent
from protocols.x509.certificate import serial_text

MARK: Final = "demo-"  # how the codes and names of all that a demonstration makes begin
OFFICE: Final = f"{MARK}1"
_PROFILE: Final = "administrator"  # that of people who ask the API
_CREDENTIAL_LIFETIME_S: Final = 600
_HOURS: Final = {"opens_at": "09:00", "closes_at": "18:00", "break_from": "13:00", "break_to": "14:00"}


@dataclass(frozen=True, slots=True)
class Step:
    """What was done, in plain words: in which story, by whom."""

    story: str
    who: str
    what: str


Tell = Callable[[Step], None]


@dataclass(slots=True)
class Stage:
    """What both stories share."""

    home: Home
    where: Doors
    folder: Path
    tell: Tell
    suffix: str = field(default_factory=lambda: secrets.token_hex(3))
    actors: list[str] = field(default_factory=list)
    certificates: list[x509.Certificate] = field(default_factory=list)  # that are to be revoked in the end

    def command(self, name: str, /, **given: Any) -> Any:
        """Have the server do what only an operator may, over its control socket."""
        return command(self.home, name, **given)

    def nobody(self) -> Client:
        """Somebody without a certificate."""
        return Client(self.home, self.where)

    def actor(self, role: str, **place: str) -> Client:
        """Certify somebody over EST, and register them in a role; they are marked as of a demonstration."""
        name = f"{MARK}{role.replace('_', '-')}-{self.suffix}"
        credential = self.command(
            "credential.create",
            profile=_PROFILE,
            subject=f"CN={name}",
            san=[f"email:{name}@example.com"],
            uses=1,
            limit_mnt=None,
            use="est",
            lifetime_s=_CREDENTIAL_LIFETIME_S,
        )
        key = new_key()
        certificate = self.enroll(credential, key)
        self.actors.append(name)
        pem = certificate.public_bytes(Encoding.PEM).decode()
        who = f"0000{secrets.randbelow(10**8):08d}"  # somebody invented, as whom nobody applies
        added = self.command("actor.add", name=name, pem=pem, role=role, civil_id=who, **place)
        if added["waiting"]:
            for proposal in added["waiting"]:
                self.command("actor.refuse", proposal=proposal)
            raise DemoError("a second administrator would have to confirm its actors: use a home of its own")
        return Client(self.home, self.where, client_files(self.folder, name, certificate, key))

    def enroll(self, credential: Mapping[str, str], key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        """Have a key certified over EST, by somebody without a certificate; it is revoked in the end."""
        certificate = self.nobody().enroll(credential, key)
        self.certificates.append(certificate)
        return certificate

    def dismiss(self) -> bool:
        """Remove the actors and revoke what is not revoked yet; tell of each that could not be done.

        None that fails keeps the others from being done. False where one did.
        """
        removed = [self._done(f"remove actor {name}", partial(self._remove, name)) for name in self.actors]
        revoked = [
            self._done(f"revoke certificate {serial_text(one.serial_number)}", partial(self._revoke, one))
            for one in self.certificates
        ]
        return all(removed + revoked)

    def _done(self, what: str, clean_up: Callable[[], None]) -> bool:
        try:
            clean_up()
        except (PKIServerError, OSError) as error:  # the server went away, or refuses
            self.tell(Step("after", "operator", f"could not {what}: {error}"))
            return False
        return True

    def _remove(self, name: str) -> None:
        if name in {one["name"] for one in self.command("actor.list")}:
            self.command("actor.remove", name=name)

    def _revoke(self, certificate: x509.Certificate) -> None:
        named = {"serial": serial_text(certificate.serial_number), "ca": None}
        if self.command("certificate.show", **named)["status"] in ("active", "suspended"):
            self.command("certificate.revoke", **named, reason="cessationOfOperation")


def command(home: Home, name: str, /, **given: Any) -> Any:
    """Return what a command of the running server results in; `DemoError` where none runs."""
    answer = asyncio.run(call(home, name, given, silent))
    if answer is None:
        raise DemoError("no server runs on this home: start it with `pkiserver serve`, and try again")
    return answer[0]


@contextmanager
def staged(home: Home, tell: Tell, *, among_real_people: bool) -> Iterator[Stage]:
    """Give a stage, and take its actors away in the end; `DemoError` where a demonstration has no place.

    That is so without a server, beside a registry that is another's, and with real people on record unless
    `among_real_people` says that it may.
    """
    command(home, "office.list")  # whether a server runs
    _require_own_registry(home)
    if not among_real_people and _real_people(home):
        raise DemoError("there are real people on record here: use a home of its own, or add --yes")
    with TemporaryDirectory(prefix="pkiserver-demo-") as folder:
        stage = Stage(home, doors(home), Path(folder), tell)
        _open_office(stage)
        _introduce(stage)
        try:
            yield stage
        except BaseException:
            stage.dismiss()
            raise
        if not stage.dismiss():
            raise DemoError("not all that the demonstration made could be taken back")


def _require_own_registry(home: Home) -> None:
    if load_settings(home.configuration).civil_registry.url:
        raise DemoError("the civil registry of civil_registry.url knows nobody of the demonstration")


def _real_people(home: Home) -> bool:
    """Whether anybody applied but through a demonstration's actors: nobody is on record otherwise."""
    after = None
    while True:
        found = command(home, "application.list", state=None, office=None, limit=MAX_LIST, after=after)
        if not all(one["created_by"].startswith(f"actor:{MARK}") for one in found):
            return True
        if len(found) < MAX_LIST:
            return False
        after = str(found[-1]["id"])


def _open_office(stage: Stage) -> None:
    if OFFICE in {one["code"] for one in stage.command("office.list")}:
        return
    name = "Demonstration office"
    stage.command("office.add", code=OFFICE, name=name, kind="branch", weekdays="12345", **_HOURS)
    stage.tell(Step("before", "operator", f"opened an office, {OFFICE}"))


def _introduce(stage: Stage) -> None:
    """Let the file of the civil registry know the people of the stories, beside whom it knows already."""
    path = stage.home.civil_registry
    text = path.read_text("utf-8") if path.exists() else ""
    known = {_civil_id(line) for line in text.splitlines()}
    new = [one for one in registry_lines() if one["civil_id"] not in known]
    if not new:
        return
    begun = text if not text or text.endswith("\n") else f"{text}\n"
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in new)
    write_file(path, (begun + lines).encode(), PRIVATE_FILE_MODE)
    stage.tell(Step("before", "operator", f"wrote two invented people into {path.name}"))


def _civil_id(line: str) -> str | None:
    try:
        found: Mapping[str, Any] = json.loads(line)
        return str(found["civil_id"])
    except (ValueError, LookupError, TypeError):  # the server says what is wrong with such a line
        return None
