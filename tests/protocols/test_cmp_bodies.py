"""The contents of CMP's bodies (RFC 9810 §5.2, §5.3): both ways, against pyasn1, and refused."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc9810

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier, Extension
from protocols.cmp.announcements import (
    CAKeyUpdAnnContent,
    RevAnnContent,
    build_ca_key_update,
    parse_ca_key_update,
    parse_crls,
)
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import (
    MAX_RESPONSES,
    CertifiedKeyPair,
    CertRepMessage,
    CertResponse,
    parse_certificates,
)
from protocols.cmp.challenges import (
    Challenge,
    Rand,
    build_challenge_responses,
    build_challenges,
    parse_challenge_responses,
    parse_challenges,
)
from protocols.cmp.confirmation import (
    PKI_CONFIRM,
    CertStatus,
    build_cert_confirm,
    parse_cert_confirm,
    parse_pki_confirm,
)
from protocols.cmp.crmf import (
    CertId,
    CertTemplate,
    PKIPublicationInfo,
)
from protocols.cmp.encrypted_key import EncryptedKey
from protocols.cmp.free_text import (
    MAX_TEXT_BYTES,
    MAX_TEXTS,
    encode_free_text,
    parse_free_text,
)
from protocols.cmp.general import (
    CertReqTemplateContent,
    CRLSource,
    CRLStatus,
    RootCaKeyUpdateContent,
    alg_id,
    build_general_message,
    encode_algorithms,
    encode_crl_statuses,
    encode_oids,
    parse_algorithms,
    parse_crl_statuses,
    parse_general_message,
    parse_oids,
    rsa_key_len,
)
from protocols.cmp.general_info import GENERAL_INFO, GeneralInfo, read_general_info
from protocols.cmp.general_name import NULL_DN, directory_name, general_name, parse_general_name
from protocols.cmp.info_type import MAX_INFOS, InfoTypeAndValue
from protocols.cmp.polling import (
    MAX_CHECK_AFTER_S,
    PollRep,
    build_poll_rep,
    build_poll_req,
    parse_poll_rep,
    parse_poll_req,
)
from protocols.cmp.revocation import RevDetails, RevRepContent, build_rev_req, parse_rev_req
from protocols.cmp.status import (
    ErrorMsgContent,
    PKIFailureInfo,
    PKIStatus,
    PKIStatusInfo,
    encode_failure_info,
    parse_failure_info,
    parse_status,
)
from protocols.errors import MalformedError, ProtocolError, TooLargeError
from tests.protocols.test_crmf import ENVELOPED, EVERY_FIELD, SHA256

VECTORS = Path(__file__).parent.parent / "vectors" / "cmp"
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")]).public_bytes()
SENDER = general_name(NAME)
DNS = der.encode(der.context(2, constructed=False), b"ca.example")
NOW = datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC)
HOLD = Extension(oid.CRL_REASON, False, der.enumerated(6))
ENCRYPTED = EncryptedKey.of(ENVELOPED)
REJECTED = PKIStatusInfo(
    PKIStatus.REJECTION, ("нет", "no"), frozenset({PKIFailureInfo.BAD_POP, PKIFailureInfo.DUPLICATE_CERT_REQ})
)
ACCEPTED = PKIStatusInfo(PKIStatus.ACCEPTED)
EC = AlgorithmIdentifier(oid.EC_PUBLIC_KEY, der.oid(oid.SECP256R1))


def certificate() -> bytes:
    """A certificate that pyasn1 reads."""
    message, _ = decode((VECTORS / "openssl_cp_implicit.der").read_bytes(), asn1Spec=rfc9810.PKIMessage())
    return bytes(encode(message["extraCerts"][0]))


CERT = certificate()
CRL = (VECTORS.parent / "crl" / "openssl_full.der").read_bytes()


def structure(kind: type[Any]) -> Callable[[bytes], Any]:
    return lambda encoded: der.whole(encoded, kind.parse)


# What is encoded, how it is read, what it is, and pyasn1's name of it.
VALUES: dict[str, tuple[bytes, Callable[[bytes], Any], Any, Any]] = {}


def value(name: str, encoded: bytes, parse: Callable[[bytes], Any], want: Any, spec: Any) -> None:
    assert name not in VALUES
    VALUES[name] = (encoded, parse, want, spec)


def one(name: str, want: Any, spec: Any) -> None:
    value(name, want.encode(), structure(type(want)), want, spec)


for status in PKIStatus:
    one(f"status {status.name}", PKIStatusInfo(status), rfc9810.PKIStatusInfo())
for reason in PKIFailureInfo:
    info = PKIStatusInfo(PKIStatus.REJECTION, (), frozenset({reason}))
    one(f"failInfo {reason.name}", info, rfc9810.PKIStatusInfo())
one(
    "status of all",
    PKIStatusInfo(PKIStatus.REJECTION, ("x",), frozenset(PKIFailureInfo)),
    rfc9810.PKIStatusInfo(),
)
one("error", ErrorMsgContent(REJECTED, -5, ("a", "b")), rfc9810.ErrorMsgContent())
one("error without code", ErrorMsgContent(REJECTED, None, ("a",)), rfc9810.ErrorMsgContent())
one("error with nothing", ErrorMsgContent(REJECTED), rfc9810.ErrorMsgContent())

PAIR = CertifiedKeyPair(CERT)
WITH_KEY = CertifiedKeyPair(CERT, None, ENCRYPTED, PKIPublicationInfo(True))
ENCR_CERT = CertifiedKeyPair(None, ENCRYPTED)
for name, pair in {"certificate": PAIR, "with key": WITH_KEY, "encrCert": ENCR_CERT}.items():
    one(name, pair, rfc9810.CertifiedKeyPair())
RESPONSES = (
    CertResponse(0, ACCEPTED, WITH_KEY, b"info"),
    CertResponse(1, ACCEPTED, ENCR_CERT),
    CertResponse(-1, REJECTED),
    CertResponse(2, REJECTED, None, b"info"),
)
one("responses", CertRepMessage(RESPONSES, (CERT, CERT)), rfc9810.CertRepMessage())
one("no responses", CertRepMessage(()), rfc9810.CertRepMessage())

STATUSES = (
    CertStatus(b"hash", 0),
    CertStatus(b"hash", 1, ACCEPTED, SHA256),
    CertStatus(b"hash", 2, REJECTED),
    CertStatus(b"", 3, None, SHA256),
)
value("certConf", build_cert_confirm(STATUSES), parse_cert_confirm, STATUSES, rfc9810.CertConfirmContent())
value("certConf of none", build_cert_confirm(()), parse_cert_confirm, (), rfc9810.CertConfirmContent())
value("pkiConf", PKI_CONFIRM, parse_pki_confirm, None, rfc9810.PKIConfirmContent())

DETAILS = (RevDetails(CertTemplate(serial_number=1, issuer=NAME), (HOLD,)), RevDetails(EVERY_FIELD))
value("rr", build_rev_req(DETAILS), parse_rev_req, DETAILS, rfc9810.RevReqContent())
one("rp", RevRepContent((ACCEPTED, REJECTED)), rfc9810.RevRepContent())
one("rp with all", RevRepContent((ACCEPTED,), (CertId.of(NAME, 1),), (CRL,)), rfc9810.RevRepContent())

POLLS = (PollRep(0, 60, ("wait",)), PollRep(-1, 0))
value("pollReq", build_poll_req((0, -1)), parse_poll_req, (0, -1), rfc9810.PollReqContent())
value("pollRep", build_poll_rep(POLLS), parse_poll_rep, POLLS, rfc9810.PollRepContent())

one("Rand", Rand(2**127, SENDER), rfc9810.Rand())
CHALLENGES = (Challenge(SHA256, b"witness", b"challenge"), Challenge(None, b"w", b"", ENVELOPED))
value("popdecc", build_challenges(CHALLENGES), parse_challenges, CHALLENGES, rfc9810.POPODecKeyChallContent())
value(
    "popdecr",
    build_challenge_responses((0, -1, 2**128)),
    parse_challenge_responses,
    (0, -1, 2**128),
    rfc9810.POPODecKeyRespContent(),
)

INFOS = (InfoTypeAndValue(oid.IT_CA_CERTS), InfoTypeAndValue(oid.IT_SUPP_LANG_TAGS, encode_free_text(["en"])))
value("genm", build_general_message(INFOS), parse_general_message, INFOS, rfc9810.GenMsgContent())
value("genm of none", build_general_message(()), parse_general_message, (), rfc9810.GenRepContent())
ALGORITHMS = (EC, AlgorithmIdentifier(oid.RSA_ENCRYPTION, der.null()), AlgorithmIdentifier(oid.ED25519))
value(
    "signKeyPairTypes",
    encode_algorithms(ALGORITHMS),
    lambda encoded: der.whole(encoded, parse_algorithms),
    ALGORITHMS,
    rfc9810.SignKeyPairTypesValue(),
)
value(
    "unsupportedOIDs",
    encode_oids((oid.IT_CA_CERTS, "2.999.1")),
    lambda encoded: der.whole(encoded, parse_oids),
    (oid.IT_CA_CERTS, "2.999.1"),
    rfc9810.UnsupportedOIDsValue(),
)
one("rootCaKeyUpdate", RootCaKeyUpdateContent(CERT, CERT, CERT), rfc9810.RootCaKeyUpdateContent())
one("rootCaKeyUpdate of one", RootCaKeyUpdateContent(CERT), rfc9810.RootCaKeyUpdateContent())
one("oldWithNew only", RootCaKeyUpdateContent(CERT, None, CERT), rfc9810.RootCaKeyUpdateContent())
TEMPLATE = CertReqTemplateContent(
    CertTemplate(subject=NAME, extensions=(Extension(oid.KEY_USAGE, True, b""),)),
    (alg_id(EC), rsa_key_len(3072)),
)
one("certReqTemplate", TEMPLATE, rfc9810.CertReqTemplateContent())
one("certReqTemplate empty", CertReqTemplateContent(CertTemplate()), rfc9810.CertReqTemplateContent())
for name, source in {
    "full name": CRLSource(full_name=(DNS, SENDER)),
    "relative name": CRLSource(relative_name=der.sequence(der.oid(oid.COMMON_NAME), der.utf8_string("CRL1"))),
    "issuer": CRLSource(issuer=(SENDER,)),
}.items():
    one(f"crlSource by {name}", source, rfc9810.CRLSource())
CRL_STATUSES = (CRLStatus(CRLSource(issuer=(SENDER,)), NOW), CRLStatus(CRLSource(full_name=(DNS,))))
value(
    "crlStatusList",
    encode_crl_statuses(CRL_STATUSES),
    lambda encoded: der.whole(encoded, parse_crl_statuses),
    CRL_STATUSES,
    rfc9810.CRLStatusListValue(),
)
value(
    "caCerts",
    der.sequence(CERT, CERT),
    lambda encoded: der.whole(encoded, parse_certificates),
    (CERT, CERT),
    rfc9810.CaCertsValue(),
)

value(
    "ckuann of pvno 3",
    build_ca_key_update(RootCaKeyUpdateContent(CERT, CERT)),
    lambda encoded: der.whole(encoded, parse_ca_key_update),
    RootCaKeyUpdateContent(CERT, CERT),
    rfc9810.CAKeyUpdContent(),
)
value(
    "ckuann of pvno 2",
    CAKeyUpdAnnContent(CERT, CERT, CERT).encode(),
    lambda encoded: der.whole(encoded, parse_ca_key_update),
    CAKeyUpdAnnContent(CERT, CERT, CERT),
    rfc9810.CAKeyUpdContent(),
)
one(
    "rann",
    RevAnnContent(PKIStatus.REVOCATION_WARNING, CertId.of(NAME, 1), NOW, NOW, (HOLD,)),
    rfc9810.RevAnnContent(),
)
one(
    "rann without details",
    RevAnnContent(PKIStatus.ACCEPTED, CertId(DNS, 1), NOW, NOW),
    rfc9810.RevAnnContent(),
)
value(
    "crlann",
    der.sequence(CRL),
    lambda encoded: der.whole(encoded, parse_crls),
    (CRL,),
    rfc9810.CRLAnnContent(),
)
ORIGINAL = (VECTORS / "openssl_ir_pbm.der").read_bytes()


@pytest.mark.parametrize("name", VALUES)
def test_both_ways(name: str) -> None:
    encoded, parse, want, _ = VALUES[name]

    assert parse(encoded) == want


@pytest.mark.parametrize("name", VALUES)
def test_pyasn1_reads_the_same(name: str) -> None:
    encoded, _, _, spec = VALUES[name]
    independent, rest = decode(encoded, asn1Spec=spec)

    assert not rest
    assert encode(independent) == encoded


@pytest.mark.parametrize("name", VALUES)
def test_what_follows_and_what_lacks_is_refused(name: str) -> None:
    encoded, parse, _, _ = VALUES[name]

    for wrong in (encoded + der.null(), encoded[:-1], b"", der.boolean(True)):
        with pytest.raises(MalformedError):
            parse(wrong)


def test_rfc9810_5_1_2_bodies_are_those_of_the_standard() -> None:
    theirs = {
        named.name.lower(): number for number, named in enumerate(rfc9810.PKIBody().componentType.namedTypes)
    }

    assert {kind.name.lower().replace("_", ""): kind.value for kind in BodyType} == theirs


def test_rfc9810_5_2_3_codes_are_those_of_the_standard() -> None:
    for ours, theirs in ((PKIStatus, rfc9810.PKIStatus), (PKIFailureInfo, rfc9810.PKIFailureInfo)):
        names = {name.lower(): number for name, number in theirs.namedValues.items()}
        assert {code.name.lower().replace("_", ""): code.value for code in ours} == names


def test_oids_are_those_of_the_standard() -> None:
    for name in vars(rfc9810):
        if name.startswith("id_it_"):
            ours = [
                ours
                for ours in vars(oid)
                if ours.startswith("IT_") and getattr(oid, ours) == str(vars(rfc9810)[name])
            ]
            assert [one.removeprefix("IT_").replace("_", "").lower() for one in ours] == [
                name.removeprefix("id_it_").replace("_", "").lower()
            ]


# ---- refused

BAD: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "rfc9810_5_1_2_unknown_body": (structure(PKIBody), der.explicit(27, der.null())),
    "rfc9810_5_1_2_two_contents": (structure(PKIBody), der.explicit(19, der.null() * 2)),
    "rfc9810_5_1_2_no_content": (structure(PKIBody), der.explicit(19, b"")),
    "rfc9810_5_2_3_unknown_status": (lambda e: der.whole(e, parse_status), der.integer(7)),
    "rfc9810_5_3_4_neither_certificate": (structure(CertifiedKeyPair), der.sequence()),
    "rfc9810_5_3_4_both_certificates": (
        structure(CertifiedKeyPair),
        der.sequence(der.explicit(0, CERT), der.explicit(1, ENCRYPTED.der)),
    ),
    "rfc9810_5_3_4_ca_pubs_empty": (
        structure(CertRepMessage),
        der.sequence(der.explicit(1, der.sequence()), der.sequence()),
    ),
    "rfc9810_5_3_9_rr_empty": (parse_rev_req, der.sequence()),
    "rfc9810_5_3_10_rp_without_status": (structure(RevRepContent), der.sequence(der.sequence())),
    "rfc9810_5_3_10_rev_certs_empty": (
        structure(RevRepContent),
        der.sequence(der.sequence(ACCEPTED.encode()), der.explicit(0, der.sequence())),
    ),
    "rfc9810_5_3_17_pkiconf_not_null": (parse_pki_confirm, der.sequence()),
    "rfc9810_5_3_22_poll_req_empty": (parse_poll_req, der.sequence()),
    "rfc9810_5_3_22_poll_rep_empty": (parse_poll_rep, der.sequence()),
    "rfc9810_5_3_22_check_after_negative": (parse_poll_rep, build_poll_rep([PollRep(0, -1)])),
    "own_check_after_too_long": (parse_poll_rep, build_poll_rep([PollRep(0, MAX_CHECK_AFTER_S + 1)])),
    "rfc9810_5_2_8_3_3_popdecc_empty": (parse_challenges, der.sequence()),
    "rfc9810_5_2_8_3_3_first_without_owf": (parse_challenges, build_challenges(CHALLENGES[1:])),
    "rfc9810_5_2_8_3_3_popdecr_empty": (parse_challenge_responses, der.sequence()),
    "rfc9810_5_1_1_free_text_empty": (lambda e: der.whole(e, parse_free_text), der.sequence()),
    "rfc3629_free_text": (lambda e: der.whole(e, parse_free_text), bytes.fromhex("30030c01ff")),
    "rfc9810_5_3_19_2_algorithms_empty": (lambda e: der.whole(e, parse_algorithms), der.sequence()),
    "rfc9810_5_3_19_7_oids_empty": (lambda e: der.whole(e, parse_oids), der.sequence()),
    "rfc9810_5_3_19_14_certificates_empty": (lambda e: der.whole(e, parse_certificates), der.sequence()),
    "rfc9810_5_3_19_16_template_with_key": (
        structure(CertReqTemplateContent),
        der.sequence(EVERY_FIELD.encode()),
    ),
    "rfc9810_5_3_19_17_statuses_empty": (lambda e: der.whole(e, parse_crl_statuses), der.sequence()),
    "rfc9810_5_3_19_17_source_without_name": (
        structure(CRLSource),
        der.explicit(0, der.encode(der.context(0), b"")),
    ),
    "rfc9810_5_3_19_17_other_source": (structure(CRLSource), der.explicit(2, der.sequence())),
    "rfc5280_4_2_1_6_no_general_name": (lambda e: der.whole(e, parse_general_name), der.utf8_string("x")),
    "rfc5280_4_2_1_6_directory_name": (
        lambda e: der.whole(e, parse_general_name),
        der.explicit(4, der.null()),
    ),
    "rfc5280_4_2_1_6_two_directory_names": (
        lambda e: der.whole(e, parse_general_name),
        der.explicit(4, NAME + NAME),
    ),
}


@pytest.mark.parametrize("rule", BAD)
def test_malformed_content_is_refused(rule: str) -> None:
    parse, encoded = BAD[rule]
    with pytest.raises(MalformedError):
        parse(encoded)


FAIL_INFOS = {
    "no content": "0300",
    "trailing zero bit": "03020340",  # bit 1 with three unused bits, where six are unused
    "trailing zero octet": "0303004000",
    "unused bits set": "03020641",
    "unused bits of nothing": "030107",
    "eight unused bits": "03020880",
    "longer than any": "030a00" + "01" * 9,
}


@pytest.mark.parametrize("name", FAIL_INFOS)
def test_x690_11_2_fail_info_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        der.whole(bytes.fromhex(FAIL_INFOS[name]), parse_failure_info)


def test_fail_info_both_ways() -> None:
    assert encode_failure_info([PKIFailureInfo.BAD_REQUEST]).hex() == "03020520"
    assert encode_failure_info([]).hex() == "030100"
    assert der.whole(bytes.fromhex("030100"), parse_failure_info) == frozenset()
    with_unknown = bytes.fromhex("0305008000001f")  # bit 0, and 27 to 31, which have no name
    assert der.whole(with_unknown, parse_failure_info) == {PKIFailureInfo.BAD_ALG}


BOUNDS: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "responses": (
        structure(CertRepMessage),
        CertRepMessage((CertResponse(0, ACCEPTED),) * (MAX_RESPONSES + 1)).encode(),
    ),
    "texts": (lambda e: der.whole(e, parse_free_text), encode_free_text(["x"] * (MAX_TEXTS + 1))),
    "text": (lambda e: der.whole(e, parse_free_text), encode_free_text(["x" * (MAX_TEXT_BYTES + 1)])),
    "infos": (parse_general_message, build_general_message(INFOS[:1] * (MAX_INFOS + 1))),
    "rr": (parse_rev_req, build_rev_req(DETAILS[:1] * 33)),
    "rp": (structure(RevRepContent), RevRepContent((ACCEPTED,) * 33).encode()),
    "certConf": (parse_cert_confirm, build_cert_confirm(STATUSES[:1] * 33)),
    "pollReq": (parse_poll_req, build_poll_req([0] * 33)),
    "pollRep": (parse_poll_rep, build_poll_rep([PollRep(0, 1)] * 33)),
    "popdecc": (parse_challenges, build_challenges(CHALLENGES[:1] * 33)),
    "popdecr": (parse_challenge_responses, build_challenge_responses([0] * 33)),
    "certReqId": (parse_poll_req, build_poll_req([2**63])),
    "crlStatusList": (lambda e: der.whole(e, parse_crl_statuses), encode_crl_statuses(CRL_STATUSES[:1] * 33)),
    "certificates": (lambda e: der.whole(e, parse_certificates), der.sequence(*[der.sequence()] * 65)),
}


@pytest.mark.parametrize("what", BOUNDS)
def test_lists_are_bounded(what: str) -> None:
    parse, encoded = BOUNDS[what]
    with pytest.raises(TooLargeError):
        parse(encoded)


# ---- names and generalInfo


def test_general_name() -> None:
    assert directory_name(SENDER) == NAME
    assert directory_name(NULL_DN) == der.sequence()
    assert directory_name(DNS) is None
    assert der.whole(SENDER, parse_general_name) == SENDER


GENERAL = GeneralInfo(
    implicit_confirm=True,
    confirm_wait_time=NOW,
    orig_pki_messages=(ORIGINAL, ORIGINAL),
    cert_profiles=("device", ""),
    unknown=(InfoTypeAndValue("1.2.3", der.null()),),
)


def test_general_info_both_ways() -> None:
    assert read_general_info(GENERAL.infos()) == GENERAL
    assert read_general_info(()) == GeneralInfo()
    assert GeneralInfo().infos() == ()
    assert {info.info_type for info in GENERAL.infos()} == {*GENERAL_INFO, "1.2.3"}
    specs = (
        rfc9810.ImplicitConfirmValue,
        rfc9810.ConfirmWaitTimeValue,
        rfc9810.OrigPKIMessageValue,
        rfc9810.CertProfileValue,
    )
    for info, spec in zip(GENERAL.infos()[:-1], specs, strict=True):
        independent, rest = decode(info.info_value, asn1Spec=spec())
        assert not rest
        assert encode(independent) == info.info_value


@pytest.mark.parametrize("info_type", GENERAL_INFO)
def test_general_info_is_refused(info_type: str) -> None:
    (info,) = (info for info in GENERAL.infos() if info.info_type == info_type)
    wrong = der.sequence() if info_type == oid.IT_IMPLICIT_CONFIRM else der.null()

    for infos in (
        [info, info],
        [InfoTypeAndValue(info_type)],
        [InfoTypeAndValue(info_type, wrong)],
    ):
        with pytest.raises(ProtocolError):
            read_general_info(infos)
