"""Challenges to keys that cannot sign: popdecc and popdecr (RFC 9810 §5.2.8.3.3).

The request is kept while its keys are challenged, and goes on once every number came back. There is one
attempt: a wrong number ends the transaction. Of the numbers only a hash is kept.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from pkiserver.ca.message_signer import MessageSigner
from pkiserver.errors import RefusedError
from pkiserver.ra.cmp.entitlements import Entitlements
from pkiserver.ra.cmp.envelopes import sealed, to_key
from pkiserver.ra.cmp.openings import keep_challenge
from pkiserver.ra.cmp.stages import Reply, Request
from pkiserver.ra.cmp.subject_keys import challenged_key
from pkiserver.ra.cmp.wanted import Wanted
from pkiserver.storage import Storage
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.challenges import (
    Challenge,
    Rand,
    build_challenge_responses,
    build_challenges,
    parse_challenge_responses,
)
from protocols.cmp.general_name import general_name
from protocols.cmp.possession import SubsequentMessage
from protocols.cms.content_info import IssuerAndSerialNumber
from protocols.errors import BadPOPError
from protocols.x509.spki import PublicKey
from store import cmp_transactions as rows

PATIENCE: Final = timedelta(minutes=5)  # a token answers in seconds
_NUMBER_BITS: Final = 128
_OWF: Final = AlgorithmIdentifier(oid.SHA256)
_NULL_DN: Final = der.sequence()


class Challenges:
    """Asks keys to prove themselves, and looks at what comes back."""

    def __init__(self, storage: Storage, entitlements: Entitlements, message_signer: MessageSigner) -> None:
        self._storage = storage
        self._entitlements = entitlements
        self._message_signer = message_signer

    async def ask(self, request: Request, wanted: Sequence[Wanted]) -> Reply | None:
        """Return the popdecc for the requests that ask to be challenged, None where none does.

        A message that is sent again is challenged anew. Raises what `Entitlements` does and `BadPOPError`.
        """
        challenged = [one for one in wanted if asks_for_challenge(one)]
        if not challenged:
            return None
        if not request.takes_envelopes:
            raise RefusedError("say pvno 3: the challenge comes in EnvelopedData (RFC 9810 §5.2.8.3.3, §7)")
        keys = []
        for one in challenged:
            entitled = await self._entitlements.of(request, one)
            keys.append((one.cert_req_id, challenged_key(one, entitled.approved.profile)))
        numbers = [secrets.randbits(_NUMBER_BITS) for _ in keys]
        body = await self._popdecc(keys, numbers)
        deadline = request.now + PATIENCE
        await self._storage.write(lambda tx: keep_challenge(tx, request, _digest(numbers), deadline))
        return Reply(body)

    async def _popdecc(self, keys: Sequence[tuple[int, PublicKey]], numbers: Sequence[int]) -> PKIBody:
        identity = await self._message_signer.identity()
        sender = general_name(identity.name)
        challenges = [
            await _challenge(cert_req_id, key, Rand(number, sender))
            for (cert_req_id, key), number in zip(keys, numbers, strict=True)
        ]
        return PKIBody(BodyType.POPDECC, build_challenges(challenges))

    async def take(self, request: Request) -> None:
        """Return where a popdecr holds all numbers; else end the transaction and raise `BadPOPError`."""
        transaction = request.transaction
        if transaction is None or transaction.challenge is None:
            raise RefusedError("there is no challenge in this transaction")
        numbers = parse_challenge_responses(request.body.content_der)
        if hmac.compare_digest(_digest(numbers), transaction.challenge):
            return
        await self._storage.write(lambda tx: rows.end_challenge(tx, transaction.id))
        raise BadPOPError("the answer to the challenge is wrong: ask for another one")


def asks_for_challenge(wanted: Wanted) -> bool:
    """Tell whether a request leaves its proof to a challenge."""
    return wanted.later_proof is SubsequentMessage.CHALLENGE_RESP


async def _challenge(cert_req_id: int, key: PublicKey, rand: Rand) -> Challenge:
    rid = IssuerAndSerialNumber(_NULL_DN, cert_req_id)
    encrypted = await sealed(to_key(key, rid), oid.PKCS7_DATA, rand.encode())
    witness = hashlib.sha256(der.integer(rand.number)).digest()
    return Challenge(_OWF, witness, encrypted_rand=encrypted.enveloped_data)


def _digest(numbers: Sequence[int]) -> bytes:
    return hashlib.sha256(build_challenge_responses(numbers)).digest()
