"""Subjects and alternative names, as typed and as encoded; RFC 4514, RFC 5280 §4.1.2.4 and §4.2.1.6."""

import unicodedata
from ipaddress import ip_address

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from protocols import oid
from protocols.asn1 import der
from protocols.errors import MalformedError, ProtocolError, TooLargeError
from protocols.x509.distinguished_names import ATTRIBUTES, MAX_RDNS, MAX_SUBJECT_CHARS
from protocols.x509.general_names import MAX_GENERAL_NAMES_BYTES
from protocols.x509.names import (
    make_name,
    names_equal,
    parse_san,
    parse_subject,
    read_general_names,
    read_name,
    san_text,
    sans_equal,
    subject_text,
)

UTF8, PRINTABLE, IA5 = der.UTF8_STRING, der.PRINTABLE_STRING, der.IA5_STRING
CITIZEN = "CN=Бат Дорж,givenName=Дорж,SN=Бат,serialNumber=PNOMN-123456789012,C=MN"


def attribute(dotted: str, tag: int, value: str) -> bytes:
    return der.sequence(der.oid(dotted), der.encode(tag, value.encode()))


def name_der(*attributes: tuple[str, int, str]) -> bytes:
    return der.sequence(*(der.set_of([attribute(*row)]) for row in attributes))


# ---- subjects, both ways: text, DER

SUBJECTS = [
    (
        CITIZEN,
        [
            (oid.COUNTRY_NAME, PRINTABLE, "MN"),
            (oid.SERIAL_NUMBER, PRINTABLE, "PNOMN-123456789012"),
            (oid.SURNAME, UTF8, "Бат"),
            (oid.GIVEN_NAME, UTF8, "Дорж"),
            (oid.COMMON_NAME, UTF8, "Бат Дорж"),
        ],
    ),
    ("O=A,OU=B,L=C,ST=D", [(f"2.5.4.{n}", UTF8, v) for n, v in ((8, "D"), (7, "C"), (11, "B"), (10, "A"))]),
    (
        "title=Дарга,organizationIdentifier=NTRMN-1234567",
        [(oid.ORGANIZATION_IDENTIFIER, UTF8, "NTRMN-1234567"), (oid.TITLE, UTF8, "Дарга")],
    ),
    (
        "UID=dorj,DC=example,DC=mn",
        [
            (oid.DOMAIN_COMPONENT, IA5, "mn"),
            (oid.DOMAIN_COMPONENT, IA5, "example"),
            (oid.USER_ID, UTF8, "dorj"),
        ],
    ),
    ("emailAddress=a@example.mn", [(oid.EMAIL_ADDRESS, IA5, "a@example.mn")]),
    (r"CN=a\,b\+c\"d\\e\<f\>g\;h=i", [(oid.COMMON_NAME, UTF8, 'a,b+c"d\\e<f>g;h=i')]),
    (r"CN=\#1", [(oid.COMMON_NAME, UTF8, "#1")]),
    (r"CN=\ a\ ", [(oid.COMMON_NAME, UTF8, " a ")]),
    (r"CN=\ ", [(oid.COMMON_NAME, UTF8, " ")]),
    ("CN=ᠮᠣᠩᠭᠣᠯ\u180eᠠ\u200dᠠ\u200c", [(oid.COMMON_NAME, UTF8, "ᠮᠣᠩᠭᠣᠯ\u180eᠠ\u200dᠠ\u200c")]),
    (f"CN={'Ж' * 64}", [(oid.COMMON_NAME, UTF8, "Ж" * 64)]),
]


@pytest.mark.parametrize(("text", "attributes"), SUBJECTS, ids=[text[:20] for text, _ in SUBJECTS])
def test_rfc4514_2_subject_both_ways(text: str, attributes: list[tuple[str, int, str]]) -> None:
    encoded = name_der(*attributes)

    assert parse_subject(text).public_bytes() == encoded
    assert subject_text(read_name(encoded)) == text


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ("cn=a, c=MN", "CN=a,C=MN"),
        (" CN = a , C = MN ", "CN=a,C=MN"),
        ("surname=a,GN=b,T=c,E=a@b.mn", "SN=a,givenName=b,title=c,emailAddress=a@b.mn"),
        (r"CN=\d0\96\D1\8D", "CN=Жэ"),
        (r"CN=a\2cb", r"CN=a\,b"),
        (r"CN=a\\ ", r"CN=a\\"),
        ("CN=a=b", "CN=a=b"),
        ("CN=и\u0306", "CN=й"),
    ],
    ids=["case", "spaces", "aliases", "hex", "hex special", "backslash space", "equals", "NFC"],
)
def test_other_ways_to_type_a_subject(typed: str, same: str) -> None:
    assert parse_subject(typed).public_bytes() == parse_subject(same).public_bytes()
    assert subject_text(parse_subject(typed)) == same


def test_attributes_of_one_rdn_are_a_der_set() -> None:
    name = parse_subject("CN=a+serialNumber=1,C=MN")

    assert [len(rdn) for rdn in name.rdns] == [1, 2]
    assert parse_subject("serialNumber=1+CN=a,C=MN").public_bytes() == name.public_bytes()


BAD_SUBJECTS = [
    ("rfc4514_3_empty", "", "NAME=VALUE"),
    ("rfc4514_3_no_equals", "CN=a,b", "'b'"),
    ("rfc4514_3_slashes", "/C=MN/CN=a", "'/C'"),
    ("rfc4514_3_lone_backslash", "CN=a\\", "backslash"),
    ("rfc4514_3_bad_escape", r"CN=a\zz", "backslash"),
    ("rfc4514_3_quote", 'CN="a"', "backslash"),
    ("rfc4514_3_semicolon", "CN=a;C=MN", "';'"),
    ("rfc4514_2_4_hexstring", "CN=#0c0161", "#"),
    ("rfc4514_2_4_bad_utf8", r"CN=\ff", "UTF-8"),
    ("rfc4514_2_4_surrogate", "CN=\udcff", "UTF-8"),
    ("rfc4514_2_3_unknown", "XX=a", "'XX'"),
    ("rfc4514_2_3_oid", "2.5.4.3=a", "'2.5.4.3'"),
    ("rfc5280_a_1_empty_value", "CN=,C=MN", "CN"),
    ("rfc5280_a_1_cn_65", "CN=" + "Ж" * 65, "64"),
    ("rfc5280_a_1_o_65", "O=" + "a" * 65, "64"),
    ("rfc5280_a_1_ou_65", "OU=" + "a" * 65, "64"),
    ("rfc5280_a_1_title_65", "title=" + "a" * 65, "64"),
    ("rfc5280_a_1_serial_65", "serialNumber=" + "1" * 65, "64"),
    ("rfc5280_a_1_l_129", "L=" + "a" * 129, "128"),
    ("rfc5280_a_1_st_129", "ST=" + "a" * 129, "128"),
    ("rfc5280_a_1_email_256", "E=" + "a" * 247 + "@ab.cd.mn", "255"),
    ("rfc5280_a_1_country_long", "C=MNG", "2"),
    ("rfc5280_a_1_country_lower", "C=mn", "capital"),
    ("rfc5280_a_1_serial_cyrillic", "serialNumber=УБ1", "PrintableString"),
    ("rfc5280_a_1_serial_at", "serialNumber=a@b", "PrintableString"),
    ("rfc5280_a_1_email_cyrillic", "E=бат@example.mn", "ASCII"),
    ("rfc1034_3_1_dc_64", "DC=" + "a" * 64, "63"),
    ("rfc4519_2_4_dc_dot", "DC=a.b", "label"),
    ("rfc5280_7_1_newline", "CN=a\nb", "control"),
    ("rfc5280_7_1_nul", r"CN=a\00", "control"),
    ("rfc5280_7_1_right_to_left", "CN=a\u202eb", "control"),
    ("rfc5280_7_1_soft_hyphen", "CN=a\u00adb", "invisible"),
    ("rfc5280_7_1_zero_width_space", "CN=a\u200bb", "invisible"),
    ("rfc5280_7_1_word_joiner", "CN=a\u2060b", "invisible"),
    ("rfc5280_7_1_byte_order_mark", "CN=a\ufeffb", "invisible"),
    ("rfc5280_7_1_tag_letter", "CN=a\U000e0061b", "invisible"),
    ("rfc5280_4_1_2_4_same_attribute_twice", "CN=a+CN=a", "RDNSequence"),
]


@pytest.mark.parametrize(("rule", "text", "named"), BAD_SUBJECTS, ids=[row[0] for row in BAD_SUBJECTS])
def test_subject_that_breaks_a_rule_is_refused(rule: str, text: str, named: str) -> None:
    with pytest.raises(MalformedError) as refusal:
        parse_subject(text)

    assert named in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_subject_over_a_bound_is_refused() -> None:
    with pytest.raises(TooLargeError):
        parse_subject("CN=" + "a" * MAX_SUBJECT_CHARS)
    with pytest.raises(TooLargeError):
        parse_subject(",".join(["OU=a"] * (MAX_RDNS + 1)))
    parse_subject(",".join(["OU=a"] * MAX_RDNS))


def test_every_attribute_name_is_known_once() -> None:
    names = [name.lower() for rule in ATTRIBUTES for name in rule.names]

    assert len(names) == len(set(names))
    assert len({rule.oid for rule in ATTRIBUTES}) == len(ATTRIBUTES)


VALUES = (
    st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=64)
    .map(lambda value: unicodedata.normalize("NFC", value))
    .filter(lambda value: 0 < len(value) <= 64)
)


@given(
    st.lists(st.tuples(st.sampled_from(["CN", "O", "OU", "SN", "givenName"]), VALUES), min_size=1, max_size=6)
)
def test_any_text_value_comes_back(attributes: list[tuple[str, str]]) -> None:
    by_name = {rule.names[0]: rule.oid for rule in ATTRIBUTES}
    encoded = name_der(*((by_name[name], UTF8, value) for name, value in attributes))

    text = subject_text(read_name(encoded))

    assert parse_subject(text).public_bytes() == encoded


@given(st.text(max_size=80))
def test_any_text_raises_only_protocol_errors(text: str) -> None:
    for candidate in (text, f"CN={text}", f"E={text}", f"C=MN,{text}"):
        try:
            name = parse_subject(candidate)
        except ProtocolError as error:
            assert str(error).isprintable()  # noqa: PT017 - text of any kind may also be right
        else:
            assert parse_subject(subject_text(name)) == name


@given(st.binary(max_size=60))
def test_any_octets_as_name_raise_only_protocol_errors(octets: bytes) -> None:
    for candidate in (octets, der.sequence(octets), der.sequence(der.set_of([der.sequence(octets)]))):
        try:
            read_name(candidate)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb", r"CN=a\0ab"),
        ("a\x1b[31m", r"CN=a\1b[31m"),
        ("a\x00", r"CN=a\00"),
        ("a\u2028b", r"CN=a\e2\80\a8b"),
        ("a\u202eb", r"CN=a\e2\80\aeb"),
        ("a\u200bb", r"CN=a\e2\80\8bb"),
    ],
    ids=["line end", "escape", "nul", "line separator", "right to left", "zero width space"],
)
def test_subject_text_is_one_safe_line(value: str, shown: str) -> None:
    assert subject_text(read_name(name_der((oid.COMMON_NAME, UTF8, value)))) == shown


def test_subject_text_of_unknown_attribute_and_bit_string() -> None:
    unique_identifier = der.sequence(der.oid("2.5.4.45"), der.bit_string(b"\x01"))
    name = read_name(
        der.sequence(der.set_of([attribute("2.5.4.9", UTF8, "x")]), der.set_of([unique_identifier]))
    )

    assert subject_text(name) == "2.5.4.45=#0001,2.5.4.9=x"


# ---- equality for re-enrolment


@pytest.mark.parametrize(
    ("rule", "other", "equal"),
    [
        ("same", [("2.5.4.6", PRINTABLE, "MN"), ("2.5.4.3", UTF8, "Bat")], True),
        ("printable_for_utf8", [("2.5.4.6", PRINTABLE, "MN"), ("2.5.4.3", PRINTABLE, "Bat")], True),
        ("utf8_for_printable", [("2.5.4.6", UTF8, "MN"), ("2.5.4.3", UTF8, "Bat")], True),
        ("case", [("2.5.4.6", PRINTABLE, "MN"), ("2.5.4.3", UTF8, "BAT")], False),
        ("space", [("2.5.4.6", PRINTABLE, "MN"), ("2.5.4.3", UTF8, "Bat ")], False),
        ("order", [("2.5.4.3", UTF8, "Bat"), ("2.5.4.6", PRINTABLE, "MN")], False),
        ("type", [("2.5.4.6", PRINTABLE, "MN"), ("2.5.4.4", UTF8, "Bat")], False),
        ("fewer", [("2.5.4.6", PRINTABLE, "MN")], False),
        ("more", [("2.5.4.6", PRINTABLE, "MN"), ("2.5.4.3", UTF8, "Bat"), ("2.5.4.3", UTF8, "Bat")], False),
    ],
)
def test_rfc7030_4_2_2_identical_subject(rule: str, other: list[tuple[str, int, str]], equal: bool) -> None:
    ours = parse_subject("CN=Bat,C=MN")

    assert names_equal(ours, read_name(name_der(*other))) is equal
    assert names_equal(read_name(name_der(*other)), ours) is equal


def test_rfc7030_4_2_2_one_rdn_is_not_two() -> None:
    assert not names_equal(parse_subject("CN=a+C=MN"), parse_subject("CN=a,C=MN"))
    assert names_equal(parse_subject("CN=a+C=MN"), parse_subject("C=MN+CN=a"))


def test_rfc7030_4_2_2_identical_alternative_names() -> None:
    a, b = parse_san("dns:a.mn"), parse_san("dns:b.mn")

    assert sans_equal([a, b], [b, a])
    assert sans_equal([], ())
    assert not sans_equal([a, b], [a])
    assert not sans_equal([a], [a, a])
    assert not sans_equal([a], [parse_san("uri:a.mn:x")])


# ---- alternative names

SANS: list[tuple[str, x509.GeneralName, int, bytes]] = [
    ("dns:www.example.mn", x509.DNSName("www.example.mn"), 2, b"www.example.mn"),
    ("dns:*.example.mn", x509.DNSName("*.example.mn"), 2, b"*.example.mn"),
    ("dns:xn--c1aqf3c.xn--l1acc", x509.DNSName("xn--c1aqf3c.xn--l1acc"), 2, b"xn--c1aqf3c.xn--l1acc"),
    ("dns:localhost", x509.DNSName("localhost"), 2, b"localhost"),
    ("email:bat.dorj+x@example.mn", x509.RFC822Name("bat.dorj+x@example.mn"), 1, b"bat.dorj+x@example.mn"),
    ("ip:192.0.2.1", x509.IPAddress(ip_address("192.0.2.1")), 7, bytes([192, 0, 2, 1])),
    ("ip:2001:db8::1", x509.IPAddress(ip_address("2001:db8::1")), 7, ip_address("2001:db8::1").packed),
    (
        "uri:https://a.mn:8443/x?y=%20",
        x509.UniformResourceIdentifier("https://a.mn:8443/x?y=%20"),
        6,
        b"https://a.mn:8443/x?y=%20",
    ),
    (
        "uri:http://[2001:db8::1]/",
        x509.UniformResourceIdentifier("http://[2001:db8::1]/"),
        6,
        b"http://[2001:db8::1]/",
    ),
    ("uri:urn:uuid:f81d4fae", x509.UniformResourceIdentifier("urn:uuid:f81d4fae"), 6, b"urn:uuid:f81d4fae"),
]


@pytest.mark.parametrize(("text", "name", "number", "content"), SANS, ids=[row[0] for row in SANS])
def test_rfc5280_4_2_1_6_name_both_ways(
    text: str, name: x509.GeneralName, number: int, content: bytes
) -> None:
    encoded = der.sequence(der.encode(der.context(number, constructed=False), content))

    assert parse_san(text) == name
    assert san_text(name) == text
    assert read_general_names(encoded) == (name,)
    assert x509.SubjectAlternativeName([parse_san(text)]).public_bytes() == encoded


def test_general_names_are_bounded_in_bytes() -> None:
    def names(count: int) -> bytes:
        host = der.encode(der.context(2, constructed=False), b"a" * 50 + b".mn")
        return der.sequence(*[host] * count)

    fits = (MAX_GENERAL_NAMES_BYTES - 4) // 55
    assert len(names(fits)) <= MAX_GENERAL_NAMES_BYTES < len(names(fits + 1))
    assert len(read_general_names(names(fits))) == fits
    with pytest.raises(TooLargeError, match="4096 bytes"):
        read_general_names(names(fits + 1))


def test_host_names_become_lower_case() -> None:
    assert san_text(parse_san(" DNS:WWW.Example.MN ")) == "dns:www.example.mn"


BAD_SANS = [
    ("no_prefix", "www.example.mn"),
    ("unknown_prefix", "host:www.example.mn"),
    ("rfc5280_4_2_1_6_dns_empty", "dns:"),
    ("rfc5280_4_2_1_6_dns_blank", "dns: "),
    ("rfc1034_3_5_underscore", "dns:a_b.mn"),
    ("rfc1034_3_5_hyphen_first", "dns:-a.mn"),
    ("rfc1034_3_5_hyphen_last", "dns:a-.mn"),
    ("rfc1034_3_5_empty_label", "dns:a..mn"),
    ("rfc1034_3_5_final_dot", "dns:a.mn."),
    ("rfc1034_3_1_label_64", "dns:" + "a" * 64 + ".mn"),
    ("rfc1034_3_1_name_254", "dns:" + "a." * 126 + "mn"),
    ("rfc1034_3_1_wildcard_255", "dns:*." + "a." * 125 + "mnn"),
    ("rfc1123_2_1_number", "dns:192.0.2.1"),
    ("rfc5890_2_3_2_1_u_label", "dns:монгол.мон"),
    ("rfc5890_2_3_1_reserved_ldh", "dns:ab--c.mn"),
    ("rfc5890_2_3_2_1_ascii_a_label", "dns:xn--abc-.mn"),
    ("rfc5890_2_3_2_1_bad_punycode", "dns:xn--999999999.mn"),
    ("rfc6125_6_4_3_wildcard_part", "dns:a*.mn"),
    ("rfc6125_6_4_3_wildcard_inner", "dns:a.*.mn"),
    ("rfc6125_6_4_3_wildcard_twice", "dns:*.*.mn"),
    ("rfc6125_6_4_3_wildcard_alone", "dns:*"),
    ("newline", "dns:a.mn\nb.mn"),
    ("rfc5321_4_1_2_no_at", "email:a.mn"),
    ("rfc5321_4_1_2_no_local", "email:@a.mn"),
    ("rfc5321_4_1_2_dots", "email:a..b@a.mn"),
    ("rfc5321_4_1_2_display_name", "email:A <a@a.mn>"),
    ("rfc5321_4_1_2_bad_host", "email:a@a_b.mn"),
    ("rfc5321_4_5_3_1_1_local_65", "email:" + "a" * 65 + "@a.mn"),
    ("rfc8398_cyrillic", "email:бат@a.mn"),
    ("ip_name", "ip:a.mn"),
    ("ip_octal", "ip:010.0.0.1"),
    ("ip_network", "ip:192.0.2.0/24"),
    ("ip_zone", "ip:fe80::1%eth0"),
    ("rfc3986_4_3_relative", "uri:/a"),
    ("rfc3986_3_3_space", "uri:https://a.mn/ b"),
    ("rfc3986_2_1_percent", "uri:https://a.mn/%zz"),
    ("rfc3987_cyrillic", "uri:https://a.mn/ж"),
    ("rfc5280_4_2_1_6_uri_no_host", "uri:https:///a"),
    ("rfc5280_4_2_1_6_uri_bad_host", "uri:https://a_b.mn/"),
    ("rfc5280_4_2_1_6_uri_bad_address", "uri:https://1.2.3.999/"),
    ("rfc3986_3_2_1_user", "uri:https://u:p@a.mn/"),
    ("rfc3986_3_2_3_port", "uri:https://a.mn:99999/"),
    ("uri_2049", "uri:https://a.mn/" + "a" * 2048),
]


@pytest.mark.parametrize(("rule", "text"), BAD_SANS, ids=[row[0] for row in BAD_SANS])
def test_alternative_name_that_breaks_a_rule_is_refused(rule: str, text: str) -> None:
    with pytest.raises(MalformedError) as refusal:
        parse_san(text)

    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 250


@given(
    st.sampled_from(["dns:", "email:", "ip:", "uri:", "uri:http://", "dns:xn--", ""]), st.text(max_size=60)
)
def test_any_text_as_alternative_name_raises_only_protocol_errors(prefix: str, text: str) -> None:
    try:
        name = parse_san(prefix + text)
    except ProtocolError:
        return
    assert parse_san(san_text(name)) == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (x509.DirectoryName(parse_subject("CN=a,C=MN")), "dirname:CN=a,C=MN"),
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), "rid:1.2.3"),
        (x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), "othername:1.2.3;0500"),
    ],
)
def test_other_kinds_of_name_are_shown(name: x509.GeneralName, text: str) -> None:
    assert san_text(name) == text


# ---- subjects of attributes by type and value

_VALUES = st.one_of(
    st.text(max_size=70), st.sampled_from(["MN", "mn", "a@b.mn", " a ", "#1", "e\u0301", "x" * 5000])
)


@given(
    st.lists(
        st.tuples(st.sampled_from([one.oid for one in ATTRIBUTES] + ["1.2.3"]), _VALUES),
        min_size=1,
        max_size=4,
    )
)
def test_a_name_of_attributes_is_the_one_of_their_text(attributes: list[tuple[str, str]]) -> None:
    def by_text() -> x509.Name:
        rdns = [
            der.set_of([der.sequence(der.oid(dotted), der.utf8_string(value))])
            for dotted, value in attributes
        ]
        return parse_subject(subject_text(read_name(der.sequence(*rdns))))

    try:
        want = by_text().public_bytes()
    except (ProtocolError, UnicodeEncodeError):
        with pytest.raises(ProtocolError):
            make_name(attributes)
    else:
        assert make_name(attributes).public_bytes() == want


def test_a_name_of_too_much_is_refused() -> None:
    with pytest.raises(TooLargeError):
        make_name([(oid.COMMON_NAME, "x" * (MAX_SUBJECT_CHARS + 1))])
    with pytest.raises(TooLargeError):
        make_name([(oid.ORGANIZATIONAL_UNIT_NAME, "x")] * (MAX_RDNS + 1))
