"""What may be sent to a path that names an operation (RFC 9483 §6.1)."""

import pytest

from pkiserver.core import Core
from pkiserver.errors import RefusedError
from pkiserver.ra.cmp.operations import BODIES, INFO_TYPES, operation_inside, require_operation
from protocols import oid
from protocols.asn1 import der
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.general import build_general_message
from protocols.cmp.http import OPERATIONS
from protocols.cmp.info_type import InfoTypeAndValue
from protocols.cmp.message import parse_nested, parse_pki_message
from protocols.cmp.status import PKIFailureInfo as Failure
from protocols.errors import MalformedError
from tests.cmp_messages import Answer, ByMAC, Client, credential, new_key, request_body
from tests.ra.test_cmp_nested import fresh, nested, registered_ra

ANYWHERE = {BodyType.CERT_CONF, BodyType.POLL_REQ, BodyType.ERROR, BodyType.POPDECR, BodyType.NESTED}
TAKEN = {
    "initialization": {BodyType.IR},
    "certification": {BodyType.CR},
    "keyupdate": {BodyType.KUR},
    "pkcs10": {BodyType.P10CR},
    "revocation": {BodyType.RR},
    "nested": set(),
}
ASKED = {
    "getcacerts": oid.IT_CA_CERTS,
    "getrootupdate": oid.IT_ROOT_CA_CERT,
    "getcertreqtemplate": oid.IT_CERT_REQ_TEMPLATE,
    "getcrls": oid.IT_CRL_STATUS_LIST,
}


def asking(*types: str) -> PKIBody:
    return PKIBody(BodyType.GENM, build_general_message(InfoTypeAndValue(one) for one in types))


def test_every_operation_is_one_of_a_path() -> None:
    assert BODIES.keys() == OPERATIONS == TAKEN.keys() | ASKED.keys()
    assert INFO_TYPES.keys() == ASKED.keys()


@pytest.mark.parametrize("operation", sorted(TAKEN))
def test_every_operation_with_every_message(operation: str) -> None:
    for tag in BodyType:
        body = PKIBody(tag, der.sequence())
        require_operation(None, body)
        if tag in TAKEN[operation] | ANYWHERE:
            require_operation(operation, body)
        else:
            with pytest.raises(RefusedError, match=operation):
                require_operation(operation, body)


@pytest.mark.parametrize("operation", sorted(ASKED))
def test_what_is_asked_for_is_what_the_path_says(operation: str) -> None:
    for asked in (*ASKED.values(), oid.IT_CURRENT_CRL):
        if asked == ASKED[operation]:
            require_operation(operation, asking(asked))
        else:
            with pytest.raises(RefusedError, match=operation):
                require_operation(operation, asking(asked))
    for body in (asking(), asking(ASKED[operation], oid.IT_CURRENT_CRL), PKIBody(BodyType.IR, b"")):
        with pytest.raises(RefusedError, match=operation):
            require_operation(operation, body)
    with pytest.raises(MalformedError):
        require_operation(operation, PKIBody(BodyType.GENM, b"\x05\x00"))


@pytest.mark.parametrize(
    ("outside", "inside"), [("nested", None), (None, None), ("initialization", "initialization")]
)
def test_what_is_inside_goes_where_it_would_alone(outside: str | None, inside: str | None) -> None:
    assert operation_inside(outside) == inside


async def test_another_message_than_the_path_says_does_nothing(core: Core) -> None:
    """The credential is as good as before at the right path, where certConf comes, too."""
    given = ByMAC(await credential(core))
    refused = await Client(core, given, operation="getcacerts").ir(new_key())
    assert (refused.body, refused.failure) == (BodyType.ERROR, Failure.BAD_REQUEST)
    client = Client(core, given, operation="initialization")
    answer = await client.ir(new_key())
    assert (await client.confirm(answer.certificate)).body is BodyType.PKICONF


@pytest.mark.parametrize(
    ("operation", "answered"),
    [("initialization", BodyType.IP), ("nested", BodyType.IP), ("keyupdate", BodyType.ERROR)],
)
async def test_messages_inside_are_held_to_the_path(core: Core, operation: str, answered: BodyType) -> None:
    ra = Client(core, await registered_ra(core), operation=operation)
    messages = [
        Client(core, ByMAC(await credential(core, name), name)).build(
            request_body(BodyType.IR, new_key(), name)
        )
        for name in ("CN=sensor-1", "CN=sensor-2")
    ]
    answer = await ra.send(nested(*messages), transaction_id=fresh())
    assert answer.body is BodyType.NESTED
    assert [Answer(parse_pki_message(one)).body for one in parse_nested(answer.message.body)] == [
        answered
    ] * 2
