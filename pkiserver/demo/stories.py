"""The two stories: a citizen's certificate (regulation 2.1 to 2.7, 3), and an organisation's token."""

import secrets
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from pkiserver.demo.client import Answer, Client, new_key
from pkiserver.demo.people import CITIZEN, FINGERPRINT, MAIL_DOMAIN, officer_list
from pkiserver.demo.stage import OFFICE, Stage, Step, Tell, staged
from pkiserver.demo.status import await_status
from pkiserver.home import Home

_EXPLAINED: Final = ("legal_effect", "conditions_of_use", "confidentiality", "liability")
_HOLDER_ASKS: Final = {"ground": "holder_request"}
_ENDS: Final = {"reason": "cessationOfOperation"}


@dataclass(slots=True)
class _Story:
    """One story being told: who decides on applications in it, and who on certificates."""

    name: str
    stage: Stage
    office: Client
    registrar: Client

    def tell(self, who: str, what: str) -> None:
        self.stage.tell(Step(self.name, who, what))

    def step(self, seen: Answer, verb: str, body: dict[str, object]) -> Answer:
        """Move an application on from where an answer showed it."""
        return self.office.post(f"/applications/{seen.body['application']}/{verb}", body, seen)


def play(home: Home, tell: Tell, *, among_real_people: bool) -> None:
    """Play both stories on the server of a home; `DemoError` where it cannot be, or one goes otherwise."""
    with staged(home, tell, among_real_people=among_real_people) as stage:
        registrar = stage.actor("registrar", office=OFFICE)
        specialist = stage.actor("specialist")
        tell(Step("before", "operator", f"registered {', '.join(stage.actors)}, each with a certificate"))
        _citizen(_Story("citizen", stage, registrar, registrar))
        _government(_Story("government", stage, specialist, registrar))
    tell(Step("after", "operator", "removed the actors of the stories and revoked their certificates"))


def _citizen(story: _Story) -> None:
    draft = story.office.post("/applications", {"office": OFFICE, "form": CITIZEN})
    story.tell("registrar", f"entered the form IUB-41 as application {draft.body['application']} (2.2)")
    verified = story.step(draft, "verify", {"proof": "fingerprint", "text": FINGERPRINT})
    story.tell("registrar", f"held it to the civil registry by fingerprint: {verified.body['state']} (2.3)")
    issued, certificate = _enrolled(story, verified)
    signed_off = story.step(issued, "sign-off", {"ground": "demonstration"})
    story.tell("registrar", "confirmed the printed form (2.6)")
    explained: dict[str, object] = {"acknowledged": list(_EXPLAINED), "text_version": "2026-1"}
    delivered = story.step(signed_off, "deliver", explained)
    story.tell("citizen", "acknowledged all four explanations and took the card (2.7)")
    story.step(delivered, "close", {"archive_unit": "demo"})
    story.tell("registrar", "handed the form over to the archive (2.6)")
    _changed(story, issued, certificate)


def _government(story: _Story) -> None:
    number = f"99{secrets.randbelow(100_000):05d}"
    path = f"/organizations/{number}"
    _contracted(story, number)
    officer = story.stage.actor("org_officer", organization=number)
    made = officer.post_list(f"{path}/imports", officer_list())
    application = made.body["rows"][0]["application"]
    story.tell("registration officer", f"sent a list of one officer, who has application {application}")
    proof: dict[str, object] = {"proof": "register_numbers", "text": "demonstration"}
    verified = story.step(story.office.get(f"/applications/{application}"), "verify", proof)
    story.tell("specialist", f"held it to the civil registry by numbers: {verified.body['state']}")
    issued, certificate = _enrolled(story, verified)
    _changed(story, issued, certificate)
    end = {"event": "end", "ground": "demonstration"}
    story.office.post(f"{path}/contract", end, story.office.get(path))
    story.tell("specialist", "ended the contract")


def _contracted(story: _Story, number: str) -> None:
    own = {"number": number, "name": "Demonstration organisation", "mail": f"info@{MAIL_DOMAIN}"}
    story.stage.nobody().post("/public/organizations", own)
    story.tell("organisation", f"registered itself as {number}")
    path = f"/organizations/{number}"
    for event, words in (("send_contract", "sent the contract"), ("sign_contract", "has it back, signed")):
        step = {"event": event, "ground": "demonstration"}
        story.office.post(f"{path}/contract", step, story.office.get(path))
        story.tell("specialist", words)
    story.office.put(f"{path}/domains", {"domains": [MAIL_DOMAIN]})
    story.tell("specialist", f"allowed work mail of {MAIL_DOMAIN}")


def _enrolled(story: _Story, verified: Answer) -> tuple[Answer, x509.Certificate]:
    """Start issuing, fetch the certificate over EST, and look what the application says of it."""
    credential = story.step(verified, "issue", {}).body
    story.tell("system", f"gave an enrolment credential, good for one certificate: {credential['reference']}")
    certificate = story.stage.enroll(credential, new_key())
    story.tell(
        "carrier", f"made its key and had it certified over EST: {certificate.subject.rfc4514_string()}"
    )
    return story.office.get(f"/applications/{verified.body['application']}"), certificate


def _changed(story: _Story, issued: Answer, certificate: x509.Certificate) -> None:
    """Suspend, restore and revoke a certificate, and look at OCSP each time."""
    handle, serial = issued.body["ca"], issued.body["serial"]
    path, folder = f"/certificates/{handle}/{serial}", story.stage.home.public / "ca"
    issuer = x509.load_pem_x509_certificate((folder / f"{handle}.pem").read_bytes())

    def look(wanted: str) -> None:
        said = await_status(story.stage.where, issuer, certificate, wanted)
        story.tell("anybody", f"asked OCSP, which says: {said}")

    look("good")
    for verb, done, body, wanted in (
        ("suspend", "suspended", _HOLDER_ASKS, "on hold"),
        ("restore", "restored", _HOLDER_ASKS, "good"),
        ("revoke", "revoked", _ENDS, "revoked"),
    ):
        story.registrar.post(f"{path}/{verb}", body, story.registrar.get(path))
        story.tell("registrar", f"{done} certificate {serial} at the holder's request")
        look(wanted)
