"""Renewal by a signed application, for holders: there is no client certificate to show (regulation 2.9).

A challenge comes first, which is signed along; then the signed application.
"""

from datetime import datetime
from typing import Final, Literal

from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.operations import Answer, APIServices, Message, Operation, Stranger

CMS: Final = ("application/cms", "application/pkcs7-mime")  # RFC 7193, RFC 8551


class RenewalChallenge(Message):
    """What the next application is signed with, once."""

    challenge: str
    expires_at: datetime


class AcceptedRenewal(Message):
    """What enrols the new certificate, over EST or CMP: the only time that it is shown."""

    application: int
    profile: str
    use: Literal["est", "cmp"]
    reference: str
    secret: str
    expires_at: datetime


async def renewal_challenge(services: APIServices, call: Stranger[None]) -> Answer:
    """Get a challenge for an application that is to be signed."""
    made = services.renewals.challenge(call.address)
    return Answer(RenewalChallenge(challenge=made.text, expires_at=made.expires_at))


async def renew(services: APIServices, call: Stranger[bytes]) -> Answer:
    """Apply for renewal: CMS SignedData in DER over the form, with any good certificate of the holder."""
    given = await services.renewals.apply(call.body, call.address)
    return Answer(
        AcceptedRenewal(
            application=given.application,
            profile=given.profile,
            use=given.use,
            reference=given.reference,
            secret=given.secret,
            expires_at=given.expires_at,
        )
    )


PUBLIC: Final = (
    Operation(
        "renewalChallenge",
        "POST",
        "/renewals/challenge",
        "Get a challenge for a renewal",
        Action.APPLY,
        renewal_challenge,
        RenewalChallenge,
        public=True,
    ),
    Operation(
        "renew",
        "POST",
        "/renewals",
        "Apply for renewal with a signature",
        Action.APPLY,
        renew,
        AcceptedRenewal,
        media_types=CMS,
        public=True,
    ),
)
