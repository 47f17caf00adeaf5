"""CMC: requests of others are read, responses are read by another implementation, every rule broken once."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc6402

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.pkix import AlgorithmIdentifier
from protocols.cmc.body_parts import MAX_BODY_PARTS, OtherMsg, TaggedAttribute, TaggedContentInfo
from protocols.cmc.controls import (
    CONTROLS,
    MAX_OCTETS,
    IdentityProofV2,
    LraPopWitness,
    RequestControls,
    read_controls,
)
from protocols.cmc.full_request import FullPKIRequest, read_full_request
from protocols.cmc.pki_data import CertReqMsg, OtherRequest, PKIData, TaggedCertificationRequest
from protocols.cmc.pki_response import PKIResponse, pki_response
from protocols.cmc.status import (
    CMCFailInfo,
    CMCStatus,
    CMCStatusInfo,
    ExtendedFailInfo,
    PendInfo,
)
from protocols.cms.content_info import ContentInfo, IssuerAndSerialNumber
from protocols.cms.signed_data import SignedData
from protocols.cms.verification import signer_certificate, verify_signer
from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.x509.csr import parse_csr
from protocols.x509.spki import PublicKey

VECTORS = Path(__file__).parent.parent / "vectors"
CSR = (VECTORS / "x509" / "openssl_p256.der").read_bytes()
PKI_DATA = (VECTORS / "cmc" / "pki_data.der").read_bytes()
NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
NAME = der.sequence(der.set_of([der.sequence(der.oid(oid.COMMON_NAME), der.utf8_string("a"))]))
SHA256 = AlgorithmIdentifier(oid.SHA256)


def control(number: int, kind: str, *values: bytes) -> TaggedAttribute:
    return TaggedAttribute(number, kind, values)


# ---- requests

WANT = PKIData(
    (
        control(1, oid.CMC_TRANSACTION_ID, der.integer(0x1234)),
        control(2, oid.CMC_SENDER_NONCE, der.octet_string(b"nonce of client")),
        control(3, oid.CMC_DATA_RETURN, der.octet_string(b"opaque")),
        control(4, oid.CMC_REG_INFO, der.octet_string(b"registration")),
        control(5, oid.CMC_IDENTIFICATION, der.utf8_string("жишээ")),
    ),
    (TaggedCertificationRequest(6, CSR),),
)


def test_request_both_ways() -> None:
    assert der.whole(PKI_DATA, PKIData.parse) == WANT
    assert WANT.encode() == PKI_DATA


WANT_OF_BOUNCY_CASTLE = PKIData(
    (control(1, oid.CMC_TRANSACTION_ID, der.integer(77)),), (TaggedCertificationRequest(5, CSR),)
)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("openssl_full_request.der", WANT),
        ("openssl_full_request_stream.ber", WANT),
        ("bouncy_castle_full_request.ber", WANT_OF_BOUNCY_CASTLE),
    ],
)
def test_full_request_of_others(name: str, want: PKIData) -> None:
    request = read_full_request((VECTORS / "cmc" / name).read_bytes())
    [signer] = request.signed_data.signer_infos
    certificate = signer_certificate(request.signed_data, signer)
    assert certificate is not None
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, PublicKey)

    verify_signer(request.signed_data, signer, key)

    assert request.pki_data == want
    [tagged] = request.pki_data.req_sequence
    assert isinstance(tagged, TaggedCertificationRequest)
    parse_csr(tagged.certification_request)


def test_controls_of_the_request() -> None:
    assert read_controls(WANT.control_sequence) == RequestControls(
        transaction_id=0x1234,
        sender_nonce=b"nonce of client",
        data_return=b"opaque",
        reg_info=b"registration",
        identification="жишээ",
    )


CERT_REQUEST = der.sequence(der.integer(7), der.sequence())
EVERYTHING = PKIData(
    (),
    (
        TaggedCertificationRequest(1, CSR),
        CertReqMsg(7, CERT_REQUEST),
        OtherRequest(2, "1.2.3", der.null()),
    ),
    (TaggedContentInfo(3, ContentInfo(oid.PKCS7_DATA, der.octet_string(b"x"))),),
    (OtherMsg(4294967295, "1.2.4", der.integer(5)),),
)


def test_every_kind_of_part_comes_back() -> None:
    encoded = EVERYTHING.encode()

    assert der.whole(encoded, PKIData.parse) == EVERYTHING
    independent, rest = decode(encoded, asn1Spec=rfc6402.PKIData())
    assert not rest
    assert [request.getName() for request in independent["reqSequence"]] == ["tcr", "crm", "orm"]


def test_rfc5272_6_2_1_identity_proofs_are_over_req_sequence_as_received() -> None:
    fields_of_pki_data = der.Reader(EVERYTHING.encode()).enter()
    fields_of_pki_data.read_raw(der.SEQUENCE)

    assert EVERYTHING.req_sequence_der() == fields_of_pki_data.read_raw(der.SEQUENCE)


EMPTY = der.sequence()
MALFORMED = {
    "rfc5272_3_2_1_three_sequences": der.sequence(EMPTY, EMPTY, EMPTY),
    "rfc5272_3_2_1_five_sequences": der.sequence(EMPTY, EMPTY, EMPTY, EMPTY, EMPTY),
    "rfc5272_3_2_1_unknown_request": der.sequence(
        EMPTY, der.sequence(der.explicit(3, der.null())), EMPTY, EMPTY
    ),
    "rfc5272_3_2_2_id_0": replace(WANT, req_sequence=(TaggedCertificationRequest(0, CSR),)).encode(),
    "rfc5272_3_2_2_id_over_the_maximum": replace(
        WANT, req_sequence=(TaggedCertificationRequest(4294967296, CSR),)
    ).encode(),
    "rfc5272_3_2_2_id_negative": replace(WANT, req_sequence=(TaggedCertificationRequest(-1, CSR),)).encode(),
    "rfc5272_3_2_2_id_twice": replace(WANT, req_sequence=(TaggedCertificationRequest(1, CSR),)).encode(),
    "rfc5272_3_2_2_id_of_crmf_twice": replace(EVERYTHING, control_sequence=(control(7, "1.2.3"),)).encode(),
    "rfc5272_3_2_1_1_fourth_element": der.sequence(
        der.sequence(der.sequence(der.integer(1), der.oid("1.2.3"), der.set_of([]), der.null())),
        EMPTY,
        EMPTY,
        EMPTY,
    ),
}


@pytest.mark.parametrize("rule", MALFORMED)
def test_malformed_request_is_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        der.whole(MALFORMED[rule], PKIData.parse)


@pytest.mark.parametrize("at", range(4))
def test_parts_are_bounded(at: int) -> None:
    message = der.sequence(der.integer(1), der.oid("1.2.3"), der.set_of([]))
    parts = [EMPTY] * 4
    parts[at] = der.sequence(message * (MAX_BODY_PARTS + 1))
    if at == 1:
        parts[at] = der.sequence(TaggedCertificationRequest(1, EMPTY).encode() * (MAX_BODY_PARTS + 1))
    elif at == 2:
        tagged = TaggedContentInfo(1, ContentInfo("1.2.3", EMPTY)).encode()
        parts[at] = der.sequence(tagged * (MAX_BODY_PARTS + 1))
    elif at == 3:
        parts[at] = der.sequence(OtherMsg(1, "1.2.3", EMPTY).encode() * (MAX_BODY_PARTS + 1))

    with pytest.raises(TooLargeError):
        der.whole(der.sequence(*parts), PKIData.parse)


@pytest.mark.parametrize(
    "content_info",
    [
        ContentInfo(oid.PKCS7_ENVELOPED_DATA, EMPTY),
        SignedData(oid.CCT_PKI_DATA, PKI_DATA).to_content_info(),
        SignedData(oid.PKCS7_DATA, PKI_DATA).to_content_info(),
        SignedData(oid.CCT_PKI_RESPONSE, PKI_DATA).to_content_info(),
        SignedData(oid.CCT_PKI_DATA, None).to_content_info(),
    ],
    ids=["enveloped", "no_signer", "data", "response", "no_content"],
)
def test_rfc5272_3_2_what_is_no_full_request_is_refused(content_info: ContentInfo) -> None:
    with pytest.raises(MalformedError):
        FullPKIRequest.from_content_info(content_info)


# ---- controls

READ: dict[str, tuple[str, bytes, Any]] = {
    "statusInfoV2": (
        oid.CMC_STATUS_INFO_V2,
        CMCStatusInfo(CMCStatus.SUCCESS, (0,)).encode_v2(),
        CMCStatusInfo(CMCStatus.SUCCESS, (0,)),
    ),
    "identification": (oid.CMC_IDENTIFICATION, der.utf8_string("a"), "a"),
    "identityProof": (oid.CMC_IDENTITY_PROOF, der.octet_string(b"p"), b"p"),
    "identityProofV2": (
        oid.CMC_IDENTITY_PROOF_V2,
        IdentityProofV2(SHA256, SHA256, b"w").encode(),
        IdentityProofV2(SHA256, SHA256, b"w"),
    ),
    "dataReturn": (oid.CMC_DATA_RETURN, der.octet_string(b"d"), b"d"),
    "transactionId": (oid.CMC_TRANSACTION_ID, der.integer(-5), -5),
    "senderNonce": (oid.CMC_SENDER_NONCE, der.octet_string(b"s"), b"s"),
    "recipientNonce": (oid.CMC_RECIPIENT_NONCE, der.octet_string(b"r"), b"r"),
    "lraPOPWitness": (
        oid.CMC_LRA_POP_WITNESS,
        der.sequence(der.integer(1), der.sequence(der.integer(2), der.integer(3))),
        LraPopWitness(1, (2, 3)),
    ),
    "regInfo": (oid.CMC_REG_INFO, der.octet_string(b"i"), b"i"),
    "responseInfo": (oid.CMC_RESPONSE_INFO, der.octet_string(b"o"), b"o"),
    "queryPending": (oid.CMC_QUERY_PENDING, der.octet_string(b"t"), b"t"),
    "popLinkRandom": (oid.CMC_POP_LINK_RANDOM, der.octet_string(b"x"), b"x"),
    "confirmCertAcceptance": (
        oid.CMC_CONFIRM_CERT_ACCEPTANCE,
        der.sequence(NAME, der.integer(9)),
        IssuerAndSerialNumber(NAME, 9),
    ),
    "controlProcessed": (
        oid.CMC_CONTROL_PROCESSED,
        der.sequence(der.sequence(der.integer(1), der.sequence(der.integer(2), der.integer(3)))),
        (1, (2, 3)),
    ),
    "raIdentityWitness": (oid.CMC_RA_IDENTITY_WITNESS, der.sequence(der.integer(4)), (4,)),
}


@pytest.mark.parametrize("name", READ)
def test_control_is_read(name: str) -> None:
    kind, value, want = READ[name]
    field = CONTROLS[kind].field
    assert CONTROLS[kind].name == name
    assert field is not None

    assert read_controls([control(1, kind, value)]) == replace(RequestControls(), **{field: want})
    with pytest.raises(MalformedError):
        read_controls([control(1, kind, value), control(2, kind, value)])
    with pytest.raises(MalformedError):
        read_controls([control(1, kind)])
    with pytest.raises(MalformedError):
        read_controls([control(1, kind, value, value)])
    with pytest.raises(MalformedError):
        read_controls([control(1, kind, der.null())])


def test_every_control_that_is_read_has_a_row_here_and_a_field() -> None:
    read = {rule.name: rule.field for rule in CONTROLS.values() if rule.field is not None}

    assert read.keys() == READ.keys()
    assert {field.name for field in fields(RequestControls)} == {*read.values(), "unprocessed"}


def test_table_has_the_controls_of_the_standard() -> None:
    theirs = {str(getattr(rfc6402, name)) for name in vars(rfc6402) if name.startswith("id_cmc_")}
    changed = {oid.CMC_CHANGE_SUBJECT_NAME}  # an attribute of requests, not a control (RFC 6402 §2.8)

    assert CONTROLS.keys() == theirs - changed
    for name in vars(rfc6402):
        if name.startswith("id_cmc_") and str(getattr(rfc6402, name)) in CONTROLS:
            assert CONTROLS[str(getattr(rfc6402, name))].name == name.removeprefix("id_cmc_")


def test_rfc5272_3_2_1_1_controls_that_are_not_processed_are_told() -> None:
    known, unknown = control(1, oid.CMC_GET_CERT, der.null()), control(2, "1.2.3", der.null(), der.null())

    assert read_controls([known, unknown]).unprocessed == (known, unknown)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (oid.CMC_SENDER_NONCE, der.octet_string(bytes(MAX_OCTETS + 1))),
        (oid.CMC_TRANSACTION_ID, der.integer(1 << 512)),
        (oid.CMC_IDENTIFICATION, der.utf8_string("ж" * 257)),
        (oid.CMC_RA_IDENTITY_WITNESS, der.sequence(*[der.integer(1)] * 9)),
    ],
)
def test_controls_are_bounded(kind: str, value: bytes) -> None:
    with pytest.raises(TooLargeError):
        read_controls([control(1, kind, value)])


# ---- status

STATUSES = {
    "success": (CMCStatusInfo(CMCStatus.SUCCESS, (0,)), "300802010030030201 00"),
    "failed": (
        CMCStatusInfo(CMCStatus.FAILED, (6,), "no", CMCFailInfo.BAD_REQUEST),
        "300f020102 3003020106 0c026e6f 020102",
    ),
    "pending": (
        CMCStatusInfo(CMCStatus.PENDING, (1, (2, 3)), None, PendInfo(b"t", NOW)),
        "3026020103 300b020101 3006020102020103 3014040174 180f" + b"20261122010203Z".hex(),
    ),
    "extended": (
        CMCStatusInfo(CMCStatus.FAILED, (1,), None, ExtendedFailInfo("1.2.3", der.null())),
        "3010020102 3003020101 a106 06022a03 0500",
    ),
}


@pytest.mark.parametrize("name", STATUSES)
def test_status_both_ways(name: str) -> None:
    info, encoded = STATUSES[name]

    assert info.encode_v2().hex() == encoded.replace(" ", "")
    assert der.whole(bytes.fromhex(encoded), CMCStatusInfo.parse_v2) == info
    independent, rest = decode(bytes.fromhex(encoded), asn1Spec=rfc6402.CMCStatusInfoV2())
    assert not rest
    assert encode(independent).hex() == encoded.replace(" ", "")


def test_rfc6402_a_1_extended_fail_info_without_its_tag_is_read() -> None:
    info, encoded = STATUSES["extended"]
    untagged = bytes.fromhex(encoded.replace("a106", "3006"))

    assert der.whole(untagged, CMCStatusInfo.parse_v2) == info


@pytest.mark.parametrize("name", ["success", "failed"])
def test_rfc5272_6_1_2_status_of_rfc2797(name: str) -> None:
    independent, rest = decode(STATUSES[name][0].encode_v1(), asn1Spec=rfc6402.CMCStatusInfo())

    assert not rest
    assert int(independent["cMCStatus"]) == STATUSES[name][0].status


@pytest.mark.parametrize("name", ["pending", "extended"])
def test_rfc5272_6_1_2_what_rfc2797_could_not_say(name: str) -> None:
    with pytest.raises(ValueError, match="CMCStatusInfo has no"):
        STATUSES[name][0].encode_v1()


def test_rfc5272_6_1_3_codes_are_those_of_the_standard() -> None:
    def camel(name: str) -> str:
        first, *rest = name.lower().split("_")
        joined = first + "".join(word.title() for word in rest)
        return joined.replace("internalCaError", "internalCAError")

    for ours, theirs in ((CMCStatus, rfc6402.CMCStatus), (CMCFailInfo, rfc6402.CMCFailInfo)):
        assert {camel(code.name): code.value for code in ours} == dict(theirs.namedValues.items())


@pytest.mark.parametrize(
    ("status", "other_info"),
    [
        (CMCStatus.SUCCESS, CMCFailInfo.BAD_ALG),
        (CMCStatus.PENDING, CMCFailInfo.BAD_ALG),
        (CMCStatus.PENDING, ExtendedFailInfo("1.2.3", der.null())),
        (CMCStatus.FAILED, PendInfo(b"t", NOW)),
    ],
)
def test_rfc5272_6_1_1_reason_that_does_not_fit_the_status(status: CMCStatus, other_info: Any) -> None:
    with pytest.raises(MalformedError):
        CMCStatusInfo(status, (1,), None, other_info)


BAD_STATUSES = {
    "rfc5272_6_1_3_reserved": "3008020101 3003020100",
    "rfc5272_6_1_1_body_list_empty": "3005020100 3000",
    "rfc5272_6_1_1_path_empty": "3007020100 30023000",
    "rfc5272_6_1_4_unknown": "300b020102 3003020100 02010e",
    "rfc5272_6_1_1_after_other_info": "300d020102 3003020100 020102 0500",
    "rfc5272_6_1_1_other_choice": "300a020102 3003020100 a200",
    "rfc3629_status_string": "3009020100 3003020100 0c01ff",
    "rfc5272_6_1_1_pend_time": "3010020103 3003020101 3006040174 180130",
}


@pytest.mark.parametrize("rule", BAD_STATUSES)
def test_malformed_status_is_refused(rule: str) -> None:
    with pytest.raises(MalformedError):
        der.whole(bytes.fromhex(BAD_STATUSES[rule]), CMCStatusInfo.parse_v2)


@pytest.mark.parametrize(
    "info",
    [
        CMCStatusInfo(CMCStatus.SUCCESS, (0,) * 129),
        CMCStatusInfo(CMCStatus.SUCCESS, (0,), "x" * 1025),
        CMCStatusInfo(CMCStatus.PENDING, (0,), None, PendInfo(bytes(257), NOW)),
    ],
    ids=["body_list", "status_string", "pend_token"],
)
def test_status_is_bounded(info: CMCStatusInfo) -> None:
    with pytest.raises(TooLargeError):
        der.whole(info.encode_v2(), CMCStatusInfo.parse_v2)


# ---- responses


def test_response_gives_back_what_the_controls_ask_for() -> None:
    request = read_controls(WANT.control_sequence)
    status = CMCStatusInfo(CMCStatus.FAILED, (6,), "no", CMCFailInfo.BAD_REQUEST)

    response = pki_response([status], request, sender_nonce=b"ours")

    assert response.control_sequence == (
        status.control(1),
        control(2, oid.CMC_TRANSACTION_ID, der.integer(0x1234)),
        control(3, oid.CMC_RECIPIENT_NONCE, der.octet_string(b"nonce of client")),
        control(4, oid.CMC_SENDER_NONCE, der.octet_string(b"ours")),
        control(5, oid.CMC_DATA_RETURN, der.octet_string(b"opaque")),
    )
    assert der.whole(response.encode(), PKIResponse.parse) == response
    independent, rest = decode(response.encode(), asn1Spec=rfc6402.PKIResponse())
    assert not rest
    assert encode(independent) == response.encode()


def test_response_to_a_request_without_controls_is_its_status_alone() -> None:
    status = CMCStatusInfo(CMCStatus.SUCCESS, (1,))

    assert pki_response([status], RequestControls(), sender_nonce=b"ours").control_sequence == (
        status.control(1),
    )


@pytest.mark.parametrize("number", [0, 1])
def test_rfc5272_3_2_2_ids_of_a_response_are_unique_and_not_0(number: int) -> None:
    parts = (control(1, "1.2.3", der.null()), control(number, "1.2.3", der.null()))

    with pytest.raises(MalformedError):
        der.whole(PKIResponse(parts).encode(), PKIResponse.parse)


# ---- octets of any kind

ALL_READERS: list[Callable[[bytes], object]] = [
    read_full_request,
    lambda octets: der.whole(octets, PKIData.parse),
    lambda octets: der.whole(octets, PKIResponse.parse),
    lambda octets: der.whole(octets, CMCStatusInfo.parse_v2),
    lambda octets: read_controls([control(1, oid.CMC_CONTROL_PROCESSED, octets)]),
    lambda octets: read_controls([control(1, oid.CMC_IDENTITY_PROOF_V2, octets)]),
]


@settings(deadline=None)
@given(st.sampled_from(ALL_READERS), st.binary(max_size=200))
def test_any_octets_raise_only_protocol_errors(read: Callable[[bytes], object], octets: bytes) -> None:
    with suppress(ProtocolError):
        read(octets)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([PKI_DATA, EVERYTHING.encode()]), st.integers(0, 700), st.integers(0, 3), st.binary())
def test_altered_request_is_refused_or_comes_back(original: bytes, at: int, cut: int, put: bytes) -> None:
    altered = original[:at] + put[:4] + original[at + cut :]
    try:
        request = der.whole(altered, PKIData.parse)
        read_controls(request.control_sequence)
    except ProtocolError:
        return
    assert request.encode() == altered or sorted(request.encode()) == sorted(altered)  # a SET OF is sorted


RESPONSE = pki_response(
    [CMCStatusInfo(CMCStatus.PENDING, (1, (2, 3)), "why", PendInfo(b"token", NOW))],
    RequestControls(transaction_id=7, sender_nonce=b"theirs"),
    sender_nonce=b"ours",
)


def read_response(octets: bytes) -> None:
    read_controls(der.whole(octets, PKIResponse.parse).control_sequence)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(
        [(read_full_request, one.read_bytes()) for one in sorted((VECTORS / "cmc").glob("*full_request*"))]
        + [(read_response, RESPONSE.encode())]
    ),
    st.integers(0, 4000),
    st.integers(0, 3),
    st.binary(max_size=4),
)
def test_any_altered_message_raises_only_protocol_errors(
    valid: tuple[Callable[[bytes], object], bytes], at: int, cut: int, put: bytes
) -> None:
    read, original = valid
    read(original)
    at %= len(original)
    with suppress(ProtocolError):
        read(original[:at] + put + original[at + cut :])


IDS = st.integers(0, 4294967295)
REFERENCES = st.one_of(IDS, st.lists(IDS, min_size=1, max_size=8).map(tuple))
INFOS = st.one_of(
    st.builds(
        CMCStatusInfo,
        st.just(CMCStatus.FAILED),
        st.lists(REFERENCES, min_size=1, max_size=6).map(tuple),
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        st.none() | st.sampled_from(CMCFailInfo) | st.just(ExtendedFailInfo("1.2", der.null())),
    ),
    st.builds(
        CMCStatusInfo,
        st.sampled_from([CMCStatus.PENDING, CMCStatus.PARTIAL]),
        st.lists(REFERENCES, min_size=1, max_size=6).map(tuple),
        st.none(),
        st.none() | st.builds(PendInfo, st.binary(max_size=256), st.just(NOW)),
    ),
)


@settings(deadline=None)
@given(INFOS)
def test_any_status_comes_back(info: CMCStatusInfo) -> None:
    encoded = info.encode_v2()

    assert der.whole(encoded, CMCStatusInfo.parse_v2) == info
    assert encode(decode(encoded, asn1Spec=rfc6402.CMCStatusInfoV2())[0]) == encoded


PARTS = st.lists(IDS.filter(bool), unique=True, max_size=8)


@settings(deadline=None)
@given(PARTS, st.randoms(use_true_random=False))
def test_any_request_comes_back(numbers: list[int], random: Any) -> None:
    controls: list[TaggedAttribute] = []
    requests: list[Any] = []
    others: list[OtherMsg] = []
    for number in numbers:
        match random.randrange(4):
            case 0:
                controls.append(control(number, "1.2.3", der.integer(number)))
            case 1:
                requests.append(TaggedCertificationRequest(number, CSR))
            case 2:
                requests.append(CertReqMsg(number, der.sequence(der.integer(number))))
            case _:
                others.append(OtherMsg(number, "1.2.4", der.null()))
    request = PKIData(tuple(controls), tuple(requests), (), tuple(others))

    assert der.whole(request.encode(), PKIData.parse) == request
