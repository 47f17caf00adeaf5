"""Enrolment and re-enrolment as EST asks for them: who asks, and what that entitles to."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar

from cryptography import x509

from config.profile import Profile
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.ca_certificates import ca_certificates
from pkiserver.ca.serials import SERIAL_BITS
from pkiserver.clock import Clock
from pkiserver.errors import (
    ChallengeError,
    NotAuthenticatedError,
    NotAuthorizedError,
    PKIServerError,
)
from pkiserver.ra.approval import Approvals
from pkiserver.ra.client_certificates import ClientCertificates, Holder, ShownCertificate
from pkiserver.ra.credentials import Credentials, WrongCredentialError, enrollable, issuer_name
from pkiserver.ra.csr_attributes import csr_attributes
from pkiserver.ra.entitlement import (
    Entitlement,
    by_certificate,
    by_credential,
    wants_certificate,
)
from pkiserver.ra.linking import require_linking
from pkiserver.ra.reenrollment import Reenrollment
from pkiserver.ra.refusals import Refusals
from pkiserver.ra.registration.plant_enrollment import PlantEnrollment
from pkiserver.ra.registration_clients import RegistrationClients
from pkiserver.ra.requester import Password, Requester
from pkiserver.ra.server_keys import HandOver, ServerKeys
from pkiserver.ra.undelivered import untaken
from pkiserver.storage import Storage
from protocols.errors import ErrorKind, ProtocolError
from protocols.x509.csr import ParsedCSR, parse_csr, parse_csr_without_key
from store import certificates, issuances
from store.database import Transaction
from store.records import CredentialRecord

_Result = TypeVar("_Result")
_NO_REFUSAL: Final = (ErrorKind.UNAVAILABLE, ErrorKind.PENDING)  # it may succeed later


class Enrollment:
    """Decides on enrolments and has `ca` issue what was approved."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        authorities: Authorities,
        profiles: Mapping[str, Profile],
        credentials: Credentials,
        client_certificates: ClientCertificates,
        registration_clients: RegistrationClients,
        plant: PlantEnrollment,
        reenrollment: Reenrollment,
        approvals: Approvals,
        server_keys: ServerKeys,
        refusals: Refusals,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._profiles = profiles
        self._credentials = credentials
        self._client_certificates = client_certificates
        self._registration_clients = registration_clients
        self._plant = plant
        self._approvals = approvals
        self._server_keys = server_keys
        self._reenrollment = reenrollment
        self._refusals = refusals

    async def enroll(self, csr_der: bytes, requester: Requester, label: str | None) -> bytes:
        """Return the DER certificate for who shows what the profile asks for (`est_authentication`).

        Raises `ChallengeError` where a password would help, `NotAuthenticatedError`,
        `NotAuthorizedError`, `NotFoundError` (label), `RefusedError`, `KeyRefusedError`,
        `NotLinkedError`, `UnavailableError`, and what `parse_csr` raises: the request is read only once
        it is known who asks. A certificate that was issued to this credential and key and never taken
        (the connection or the server broke) is given again. `PendingError` where it awaits approval
        (`Approvals.obtain`), as all do that a registration client asks for.
        """

        async def issue(entitlement: Entitlement, actor: str) -> bytes:
            return await self._enroll(csr_der, requester, entitlement, actor)

        if requester.password is not None:
            return await self._by_credential("enroll", requester, requester.password, label, issue)
        if requester.certificate is None:
            self.refuse_unproven(label)
        shown = await self._shown("enroll", requester)
        work = self._enroll_by_certificate(csr_der, shown, label, issue)
        return await self._audited("enroll", shown.actor, requester, work)

    async def reenroll(self, csr_der: bytes, requester: Requester, label: str | None) -> bytes:
        """Return a new DER certificate for the holder of a current one (RFC 7030 §4.2.2).

        The status of the client certificate is read from the store at each call, and once more in the
        transaction that reserves the serial. `label` names the profile; None: that of the client
        certificate. Raises as `enroll` does, `NotAuthorizedError` where the client certificate does not
        entitle to it. A trusted third party's is enrolled: strongSwan asks to re-enrol whenever it holds
        a certificate.
        """
        shown = await self._shown("reenroll", requester)
        if shown.issuer is None:
            return await self.enroll(csr_der, requester, label)
        work = self._reenroll(csr_der, requester, shown, label)
        return await self._audited("reenroll", shown.actor, requester, work)

    async def generate_key(
        self, csr_der: bytes, requester: Requester, label: str | None, hand_over: HandOver
    ) -> None:
        """Enrol or re-enrol with a key that is made here, and hand key and certificate over (RFC 7030 §4.4).

        A current certificate of ours alone re-enrols, whoever shows anything else enrols. Raises as `enroll`
        and `reenroll` do, and what `ServerKeys.make` does.
        """
        operation = "serverkeygen"

        async def make(entitlement: Entitlement, actor: str) -> None:
            csr = parse_csr_without_key(csr_der)
            require_linking(entitlement.profile, csr, requester.channel)
            if entitlement.credential is not None and entitlement.credential.uses_left == 0:
                raise NotAuthenticatedError("the credential has no use left")
            await self._server_keys.make(csr, entitlement.hold(csr, actor), hand_over)

        if requester.password is not None:
            await self._by_credential(operation, requester, requester.password, label, make)
            return
        if requester.certificate is None:
            self.refuse_unproven(label)
        shown = await self._shown(operation, requester)
        work = (
            self._make_by_certificate(shown, label, make)
            if shown.issuer is None
            else self._make_again(csr_der, requester, shown, label, hand_over)
        )
        await self._audited(operation, shown.actor, requester, work)

    async def _make_again(
        self,
        csr_der: bytes,
        requester: Requester,
        shown: ShownCertificate,
        label: str | None,
        hand_over: HandOver,
    ) -> None:
        holder = await self._holder(shown)
        csr = parse_csr_without_key(csr_der)
        approved = await self._reenrollment.approve(csr, holder, label)
        require_linking(approved.profile, csr, requester.channel)
        await self._server_keys.make(csr, approved, hand_over)

    def refuse_unproven(self, label: str | None) -> NoReturn:
        """Raise what a request gets that proves nothing: a challenge, unless a password would not help."""
        profile = self._profiles.get(label or "")
        if profile is not None and set(profile.est_authentication) == {"certificate"}:
            raise NotAuthorizedError(f"profile {profile.name} is enrolled with a client certificate alone")
        raise ChallengeError("no credentials were sent")

    async def delivered(self, certificate: bytes) -> None:
        """Note that the client took this certificate: it is not given again."""
        serial = x509.load_der_x509_certificate(certificate).serial_number
        if serial >> SERIAL_BITS:
            return  # no serial of ours
        now = self._clock.now()

        def transaction(tx: Transaction) -> None:
            authority = certificates.authority_of(tx, serial, certificate)
            if authority is not None:
                issuances.mark_delivered(tx, authority, serial, now)

        # A note that is lost costs nothing: the client may fetch the same once more (ADR 0004).
        self._storage.write_along(transaction)

    async def refused(self, *, operation: str, peer: str, reason: str, actor: str = "anonymous") -> None:
        """Record a request that was refused elsewhere."""
        await self._refusals.record(actor, operation, peer, reason)

    def ca_certificates(self, label: str | None) -> Sequence[bytes]:
        """Return the certificates that a client of this profile needs, or all (RFC 7030 §4.1)."""
        issuer = None if label is None else issuer_name(enrollable(self._profiles, label))
        return ca_certificates(self._authorities, self._clock.now(), issuer)

    def csr_attributes(self, label: str | None) -> bytes | None:
        """Return the CsrAttrs of a profile (RFC 7030 §4.5.2); None without a label: they share nothing."""
        return None if label is None else csr_attributes(enrollable(self._profiles, label))

    async def _shown(self, operation: str, requester: Requester) -> ShownCertificate:
        async def work() -> ShownCertificate:
            if requester.certificate is None:
                raise NotAuthorizedError("re-enrolment needs a TLS client certificate of this CA")
            return self._client_certificates.read(requester.certificate)

        return await self._audited(operation, "anonymous", requester, work())

    async def _audited(
        self, operation: str, actor: str, requester: Requester, work: Coroutine[Any, Any, _Result]
    ) -> _Result:
        try:
            return await work
        except ChallengeError:  # nobody was refused
            raise
        except (PKIServerError, ProtocolError) as error:
            if error.kind not in _NO_REFUSAL:
                await self._refusals.record(actor, operation, requester.peer, str(error))
            raise

    async def _by_credential(
        self,
        operation: str,
        requester: Requester,
        password: Password,
        label: str | None,
        finish: Callable[[Entitlement, str], Awaitable[_Result]],
    ) -> _Result:
        credential = await self._authenticated(password, requester.peer)
        actor = f"credential:{credential.reference}"

        async def work() -> _Result:
            client = None
            if requester.certificate is not None and wants_certificate(self._profiles, credential):
                shown = self._client_certificates.read(requester.certificate)
                client = await self._client_certificates.identify(shown)
            entitlement = by_credential(self._profiles, credential, client, label)
            return await finish(entitlement, actor)

        return await self._audited(operation, actor, requester, work())

    async def _authenticated(self, password: Password, peer: str) -> CredentialRecord:
        """Return the credential whose secret this is; who guesses waits longer each time."""
        now = self._clock.now()
        self._refusals.require_patience(password.reference, now)
        try:
            credential = await self._credentials.authenticate(password.reference, password.secret)
        except WrongCredentialError as error:
            await self._refusals.wrong_secret("enroll", password.reference, peer, error, now)
            raise
        self._refusals.right_secret(password.reference)
        return credential

    async def _enroll_by_certificate(
        self,
        csr_der: bytes,
        shown: ShownCertificate,
        label: str | None,
        issue: Callable[[Entitlement, str], Awaitable[bytes]],
    ) -> bytes:
        client = await self._client_certificates.identify(shown)
        if isinstance(client, Holder):
            card = await self._plant.card(client, label)
            if card is not None:
                return await self._plant.enroll(card, csr_der)
            actor = await self._registration_clients.actor(client, label)
            if actor is not None:
                return await self._registration_clients.enroll(csr_der, client, actor, label)
        return await issue(by_certificate(self._profiles, client, label), shown.actor)

    async def _make_by_certificate(
        self, shown: ShownCertificate, label: str | None, make: Callable[[Entitlement, str], Awaitable[None]]
    ) -> None:
        client = await self._client_certificates.identify(shown)
        await make(by_certificate(self._profiles, client, label), shown.actor)

    async def _reenroll(
        self, csr_der: bytes, requester: Requester, shown: ShownCertificate, label: str | None
    ) -> bytes:
        holder = await self._holder(shown)
        return await self._reenrollment.reenroll(csr_der, holder, requester.channel, label)

    async def _holder(self, shown: ShownCertificate) -> Holder:
        client = await self._client_certificates.identify(shown)
        if not isinstance(client, Holder):
            raise NotAuthorizedError("the client certificate is not of this CA")
        return client

    async def _enroll(
        self, csr_der: bytes, requester: Requester, entitlement: Entitlement, actor: str
    ) -> bytes:
        csr = parse_csr(csr_der)
        credential = entitlement.credential
        require_linking(entitlement.profile, csr, requester.channel)
        if credential is not None and credential.uses_left == 0:
            return await self._untaken(credential, csr)
        request = entitlement.hold(csr, actor).request(csr.public_key)
        return await self._approvals.obtain(request, until=credential.expires_at if credential else None)

    async def _untaken(self, credential: CredentialRecord, csr: ParsedCSR) -> bytes:
        """Return the certificate of a used credential that its client has not taken; else refuse."""
        actor = f"credential:{credential.reference}"
        certificate = await untaken(
            self._storage,
            self._clock,
            lambda tx: issuances.undelivered(tx, actor, credential.profile, csr.spki_sha256),
            actor,
        )
        if certificate is None:
            raise NotAuthenticatedError("the credential has no use left")
        return certificate
