"""General messages: what is answered to each type of information (RFC 9810 §5.3.19, RFC 9483 §4.3)."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config.profile import SHIPPED_PROFILES, Profile, load_profiles
from pkiserver.ca.ca_certificates import root_update
from pkiserver.core import Core
from pkiserver.errors import NotFoundError, PKIServerError, RefusedError
from pkiserver.ra.cmp.crls import MAX_CRL_BYTES, CRLAnswers
from pkiserver.ra.cmp.general import Asker, GeneralMessages
from pkiserver.ra.cmp.key_types import encryption_algorithms, request_template, signing_algorithms
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import parse_certificates
from protocols.cmp.free_text import encode_free_text
from protocols.cmp.general import (
    CertReqTemplateContent,
    CRLSource,
    CRLStatus,
    RootCaKeyUpdateContent,
    alg_id,
    build_general_message,
    encode_crl_statuses,
    parse_algorithms,
    parse_general_message,
    parse_oids,
    rsa_key_len,
)
from protocols.cmp.general_name import general_name
from protocols.cmp.info_type import InfoTypeAndValue
from protocols.errors import MalformedError
from tests.cmp_messages import ByMAC, Client, credential, holder

T = TypeVar("T")
PROFILES = load_profiles(SHIPPED_PROFILES)
NOBODY = Asker()
UNKNOWN = "1.3.6.1.4.1.32473.99"
P256 = AlgorithmIdentifier(oid.EC_PUBLIC_KEY, der.oid(oid.SECP256R1))
P384 = AlgorithmIdentifier(oid.EC_PUBLIC_KEY, der.oid(oid.SECP384R1))
RSA = AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null())
WITHOUT_VALUE = (
    oid.IT_CA_PROT_ENC_CERT,
    oid.IT_SIGN_KEY_PAIR_TYPES,
    oid.IT_ENC_KEY_PAIR_TYPES,
    oid.IT_PREFERRED_SYMM_ALG,
    oid.IT_CURRENT_CRL,
    oid.IT_CA_CERTS,
    oid.IT_CERT_REQ_TEMPLATE,
)


class Answers:
    """General messages over the real authorities."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.messages = GeneralMessages(
            authorities=core.authorities,
            profiles=PROFILES,
            ca_certificates=core.enrollment.ca_certificates,
            root_update=partial(root_update, core.authorities),
            crls=CRLAnswers(core.crl_publisher.copies(), core.authorities),
        )

    async def value(self, kind: str, value: bytes | None = None, asker: Asker = NOBODY) -> bytes | None:
        """Return the value of the one answer, whose type is that of the question."""
        (answer,) = await self.messages.answer([InfoTypeAndValue(kind, value)], asker)
        expected = {oid.IT_ROOT_CA_CERT: oid.IT_ROOT_CA_KEY_UPDATE, oid.IT_CRL_STATUS_LIST: oid.IT_CRLS}
        assert answer.info_type == expected.get(kind, kind)
        return answer.info_value

    def certificate(self, name: str) -> x509.Certificate:
        return self.core.authorities.get(name).certificate


@pytest.fixture
async def answers(core: Core) -> Answers:
    await core.crl_publisher.attempt()
    return Answers(core)


def found(value: T | None) -> T:
    assert value is not None
    return value


# ---- What a profile tells


def profile(name: str = "device", **changes: object) -> Profile:
    return PROFILES[name].model_copy(update=changes)


@pytest.mark.parametrize("name", [one.name for one in PROFILES.values() if one.enroll])
def test_every_shipped_profile_has_a_template(name: str) -> None:
    """RFC 9810 §5.3.19.16: no public key, and a control for each kind that may be."""
    content = request_template(PROFILES[name])
    assert der.whole(content.encode(), CertReqTemplateContent.parse) == content
    assert len(content.key_spec) == len(PROFILES[name].keys)
    assert content.template.subject is not None
    unused = (content.template.version, content.template.serial_number, content.template.issuer)
    assert unused == (None, None, None)


def test_the_template_of_a_citizen() -> None:
    content = request_template(PROFILES["citizen-signature"])
    kinds = (P256, P384, AlgorithmIdentifier(oid.EC_PUBLIC_KEY, der.oid(oid.SECP521R1)))
    assert content.key_spec == (*map(alg_id, kinds), rsa_key_len(2048))
    rdns = der.Reader(found(content.template.subject)).enter()
    values = {}
    while not rdns.at_end:
        attribute = rdns.enter(der.SET).enter()
        kind = attribute.oid()
        values[kind] = attribute.read_any()
    assert values[oid.COUNTRY_NAME] == (der.PRINTABLE_STRING, b"\x13\x02MN")
    assert values[oid.SURNAME] == (der.UTF8_STRING, b"\x0c\x00")  # to be filled in
    (usage,) = content.template.extensions
    assert (usage.oid, usage.value) == (oid.KEY_USAGE, b"\x03\x02\x06\x40")


def test_which_keys_are_for_what() -> None:
    signing = profile(keys=["ec:P-256", "rsa:2048", "rsa:3072"], key_usage=["digitalSignature"])
    both = profile(keys=["rsa:2048"], key_usage=["digitalSignature", "keyEncipherment"])
    agreeing = profile(keys=["ec:P-384"], key_usage=["keyAgreement"])
    assert signing_algorithms([signing]) == (P256, RSA)
    assert encryption_algorithms([signing]) == ()
    assert signing_algorithms([both, signing]) == (RSA, P256)
    assert encryption_algorithms([both, signing]) == (RSA,)
    assert signing_algorithms([agreeing]) == ()
    assert encryption_algorithms([agreeing]) == (P384,)


# ---- What is asked without a value


async def test_algorithms(answers: Answers) -> None:
    all_of_them = der.whole(found(await answers.value(oid.IT_SIGN_KEY_PAIR_TYPES)), parse_algorithms)
    assert {P256, P384, RSA} <= set(all_of_them)
    named = await answers.value(oid.IT_SIGN_KEY_PAIR_TYPES, asker=Asker("device"))
    assert der.whole(found(named), parse_algorithms) == signing_algorithms([PROFILES["device"]])
    assert await answers.value(oid.IT_ENC_KEY_PAIR_TYPES, asker=Asker("device")) is None
    cipher = der.whole(found(await answers.value(oid.IT_PREFERRED_SYMM_ALG)), AlgorithmIdentifier.parse)
    assert cipher.oid == oid.AES256_CBC
    assert await answers.value(oid.IT_CA_PROT_ENC_CERT) is None


async def test_ca_certificates(answers: Answers) -> None:
    """RFC 9483 §4.3.1: of a profile those up to the root, else all."""
    everything = der.whole(found(await answers.value(oid.IT_CA_CERTS)), parse_certificates)
    assert list(everything) == [authority.der for authority in answers.core.authorities]
    of_device = await answers.value(oid.IT_CA_CERTS, asker=Asker("device"))
    chain = [authority.der for authority in answers.core.authorities.chain("infrastructure")]
    assert list(der.whole(found(of_device), parse_certificates)) == chain


async def test_the_template_of_a_request(answers: Answers) -> None:
    """RFC 9483 §4.3.3; without a profile there are no requirements to tell."""
    assert await answers.value(oid.IT_CERT_REQ_TEMPLATE) is None
    value = found(await answers.value(oid.IT_CERT_REQ_TEMPLATE, asker=Asker("device")))
    assert der.whole(value, CertReqTemplateContent.parse) == request_template(PROFILES["device"])
    with pytest.raises(NotFoundError):
        await answers.value(oid.IT_CERT_REQ_TEMPLATE, asker=Asker("nothing"))
    with pytest.raises(PKIServerError):
        await answers.value(oid.IT_CERT_REQ_TEMPLATE, asker=Asker("root-ca"))


async def test_the_current_crl(answers: Answers) -> None:
    for asker in (Asker("device"), Asker(issuer="infrastructure"), Asker("device", "citizen")):
        crl = x509.load_der_x509_crl(found(await answers.value(oid.IT_CURRENT_CRL, asker=asker)))
        assert crl.is_signature_valid(answers.certificate("infrastructure").public_key())  # type: ignore[arg-type] # a key that signs
    with pytest.raises(RefusedError, match="name a profile"):
        await answers.value(oid.IT_CURRENT_CRL)


async def test_before_the_first_crl(core: Core) -> None:
    class Nothing:
        def complete(self) -> list[object]:
            return []

    answers = Answers(core)
    answers.messages._crls = CRLAnswers(Nothing(), core.authorities)
    with pytest.raises(RefusedError, match="no CRL yet"):
        await answers.value(oid.IT_CURRENT_CRL, asker=Asker("device"))


@pytest.mark.parametrize("kind", WITHOUT_VALUE)
async def test_a_value_where_there_must_be_none(answers: Answers, kind: str) -> None:
    with pytest.raises(RefusedError, match="without a value"):
        await answers.value(kind, der.null(), Asker("device"))


# ---- What is asked with one


LANGUAGES: dict[tuple[str, ...], str | None] = {
    ("en",): "en",
    ("mn", "EN-gb", "en"): "EN-gb",
    ("mn", "ru"): None,
    ("eng",): None,
}


@pytest.mark.parametrize("tags", LANGUAGES)
async def test_languages(answers: Answers, tags: tuple[str, ...]) -> None:
    """RFC 9810 §5.3.19.13: one of those offered, or an error."""
    chosen = LANGUAGES[tags]
    if chosen is None:
        with pytest.raises(RefusedError, match="texts are in en"):
            await answers.value(oid.IT_SUPP_LANG_TAGS, encode_free_text(tags))
    else:
        value = await answers.value(oid.IT_SUPP_LANG_TAGS, encode_free_text(tags))
        assert value == encode_free_text([chosen])


async def test_root_updates(answers: Answers) -> None:
    """RFC 9483 §4.3.2: what follows the root that the client has."""
    old = answers.core.authorities.get("root").der
    assert await answers.value(oid.IT_ROOT_CA_CERT, old) is None
    assert await answers.value(oid.IT_ROOT_CA_CERT) is None
    await answers.core.rollover.prepare("root", "test")
    assert await answers.value(oid.IT_ROOT_CA_CERT, old) is None, "nobody is told of a key before its time"
    await answers.core.rollover.publish("root", "test")
    await answers.core.rollover.activate("root", None, "test")
    new = answers.core.authorities.get("root").der
    (update,) = answers.core.authorities.root_updates
    value = der.whole(found(await answers.value(oid.IT_ROOT_CA_CERT, old)), RootCaKeyUpdateContent.parse)
    new_with_old, old_with_new = (
        found(link).public_bytes(Encoding.DER) for link in (update.new_with_old, update.old_with_new)
    )
    assert value == RootCaKeyUpdateContent(new, new_with_old, old_with_new)
    newest = der.whole(found(await answers.value(oid.IT_ROOT_CA_CERT)), RootCaKeyUpdateContent.parse)
    assert newest == value
    assert await answers.value(oid.IT_ROOT_CA_CERT, new) is None  # nothing follows it


async def test_newer_crls(answers: Answers) -> None:
    """RFC 9810 §5.3.19.17: by address or issuer, and only where the client has an older one or none."""
    issuer = general_name(answers.certificate("infrastructure").subject.public_bytes())
    current = x509.load_der_x509_crl(
        found(await answers.value(oid.IT_CURRENT_CRL, asker=Asker(issuer="infrastructure")))
    )
    address = next(
        copy.url
        for copy in answers.core.crl_publisher.copies().complete()
        if copy.authority == answers.core.authorities.get("infrastructure").id
    )
    uri = der.encode(der.context(6, constructed=False), address.encode())
    by_address, by_issuer = CRLSource(full_name=(uri,)), CRLSource(issuer=(issuer,))
    older = current.last_update_utc - timedelta(seconds=1)
    elsewhere = CRLSource(full_name=(der.encode(der.context(6, constructed=False), b"http://x/y.crl"),))
    for statuses, count in (
        ([CRLStatus(by_address)], 1),
        ([CRLStatus(by_issuer)], 1),
        ([CRLStatus(by_issuer, older), CRLStatus(by_address, older)], 1),  # the same one
        ([CRLStatus(by_issuer, current.last_update_utc)], 0),
        ([CRLStatus(elsewhere)], 0),
        ([CRLStatus(CRLSource(relative_name=b""))], 0),
    ):
        value = await answers.value(oid.IT_CRL_STATUS_LIST, encode_crl_statuses(statuses))
        if count:
            (crl,) = der.whole(found(value), parse_certificates)
            assert x509.load_der_x509_crl(crl).last_update_utc == current.last_update_utc
        else:
            assert value is None


async def test_crls_that_are_too_large(answers: Answers) -> None:
    @dataclass
    class Large:
        authority: int
        url: str = "http://pki.example/crl/large.crl"
        shard: int = 0
        octets: int = MAX_CRL_BYTES + 1

    class All:
        def complete(self) -> list[Large]:
            return [Large(answers.core.authorities.get("infrastructure").id)]

    answers.messages._crls = CRLAnswers(All(), answers.core.authorities)  # type: ignore[arg-type] # it is not read
    with pytest.raises(RefusedError, match=r"http://pki\.example/crl/large\.crl"):
        await answers.value(oid.IT_CURRENT_CRL, asker=Asker("device"))


@pytest.mark.parametrize("kind", [oid.IT_SUPP_LANG_TAGS, oid.IT_CRL_STATUS_LIST])
async def test_a_value_that_is_missing_or_of_another_type(answers: Answers, kind: str) -> None:
    with pytest.raises(RefusedError, match="with a value"):
        await answers.value(kind)
    with pytest.raises(MalformedError):
        await answers.value(kind, der.null())


# ---- Several, unknown and none


async def test_unknown_types_are_named(answers: Answers) -> None:
    """RFC 9810 §5.3.19.7; what is known beside them is answered."""
    asked = [InfoTypeAndValue(UNKNOWN, der.null()), InfoTypeAndValue(oid.IT_CA_PROT_ENC_CERT)]
    known, unsupported = await answers.messages.answer(asked, NOBODY)
    assert known.info_type == oid.IT_CA_PROT_ENC_CERT
    assert unsupported.info_type == oid.IT_UNSUPPORTED_OIDS
    assert der.whole(found(unsupported.info_value), parse_oids) == (UNKNOWN,)


async def test_several_are_answered_in_order_and_none_twice(answers: Answers) -> None:
    asked = [InfoTypeAndValue(kind) for kind in WITHOUT_VALUE]
    answered = await answers.messages.answer(asked, Asker("device"))
    assert [one.info_type for one in answered] == list(WITHOUT_VALUE)
    with pytest.raises(RefusedError, match="twice"):
        await answers.messages.answer([*asked, asked[0]], Asker("device"))


async def test_an_empty_message_asks_for_all_that_is_relevant(answers: Answers) -> None:
    """RFC 9810 appendix D.5."""
    answered = await answers.messages.answer([], NOBODY)
    assert [one.info_type for one in answered] == [
        oid.IT_CA_PROT_ENC_CERT,
        oid.IT_SIGN_KEY_PAIR_TYPES,
        oid.IT_ENC_KEY_PAIR_TYPES,
        oid.IT_PREFERRED_SYMM_ALG,
        oid.IT_ROOT_CA_KEY_UPDATE,
    ]


# ---- Who asks


async def asked_by(client: Client, kind: str) -> bytes | None:
    """Return the value that the service answers to somebody."""
    body = PKIBody(BodyType.GENM, build_general_message([InfoTypeAndValue(kind)]))
    answer = await client.send(body)
    assert answer.body is BodyType.GENP
    (info,) = parse_general_message(answer.message.body.content_der)
    return info.info_value


@pytest.mark.parametrize(
    ("by", "path", "profile"),
    [
        ("secret", None, "tls-server"),
        ("secret", "device", "device"),
        ("certificate", None, "device"),
        ("certificate", "citizen-signature", "citizen-signature"),
    ],
)
async def test_the_profile_is_that_of_the_path_or_of_who_asks(
    core: Core, by: str, path: str | None, profile: str
) -> None:
    if by == "secret":
        named = await credential(core, "CN=www.example.mn", profile="tls-server", san=["dns:www.example.mn"])
        client = Client(core, ByMAC(named), path)
    else:
        client = Client(core, await holder(core), path)
    value = found(await asked_by(client, oid.IT_CERT_REQ_TEMPLATE))
    assert der.whole(value, CertReqTemplateContent.parse) == request_template(PROFILES[profile])


async def test_who_holds_a_certificate_of_no_profile_to_ask_for_gets_the_crl_of_its_issuer(
    core: Core,
) -> None:
    """The profile of a certificate may be gone; who issued it is known."""
    await core.crl_publisher.attempt()
    held = await holder(core)
    assert isinstance(core.profiles, dict)
    core.profiles.pop("device")
    assert await asked_by(Client(core, held), oid.IT_CERT_REQ_TEMPLATE) is None
    crl = x509.load_der_x509_crl(found(await asked_by(Client(core, held), oid.IT_CURRENT_CRL)))
    assert crl.issuer == core.authorities.get("infrastructure").certificate.subject
