"""The key policy: what a profile allows, every known weakness, and the lists of weak keys."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiserver.ca.curve_points import ED448, ED25519, NIST_CURVES, edwards_fault, weierstrass_fault
from pkiserver.ca.key_policy import RSA_CHECKS, WEAK_LIST_REASON, check_key
from pkiserver.ca.roca import has_roca_structure
from pkiserver.ca.rsa_numbers import has_close_primes, has_small_factor, is_perfect_power
from pkiserver.ca.weak_keys import (
    PUBLISHED_WEAK_KEYS,
    WeakKeyList,
    WeakKeyListError,
    load_weak_keys,
    rsa_fingerprint,
)
from pkiserver.errors import KeyRefusedError
from protocols.errors import ErrorKind

ALL = ("ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048", "ed25519", "ed448")

# RSA 2048 moduli published as examples of their weakness by the badkeys project (PyPI, tests/data).
DEBIAN_MODULUS = int(
    "C096530C4C4A343FC388FF8B6E14C88B617485966DD0F757F3DECB2F03DFDFE6F518E0948F5387059BD5AA124F26D38F"
    "139DD6EBC234360561689758E9B14E03F714508167374CBF64E24E26C3CD95ED5A5D04E3C404BE157BB8090E9ADA9CDC"
    "53EF7E806C1E77B5F10242150A24E9ADF991088DAF20A75BEB54BC91FE43DD8755447FD3ABDEFB9F1C987A8B04198245"
    "04E213F8DD26A9C6B7ED2F2103D8422720F7A7400CE34743E4CE40440C69013EFEA2A39790FCDFCCBB424DA1D824ADFE"
    "58071ED76D41AF836E4093EA60F5719E250FA214F8631153A81EEFC17D82E3F819DA57691ED9602550074FDEA73AC9E5"
    "CFE10F6B91ADC31B402C3E370B03A559",
    16,
)
ROCA_MODULUS = int(
    "9132AD211FCC0DFB4DAE48326AC864C227E4B394B09BD1C4930E197028A3C907694D2B489E4F69754AEAE338C6EAD939"
    "C57F406985CBBB8EDF9A2055CC2946BC05D365BA67E896C6D4811152CFA2D290514F90B352EEEF27FEB72FBD8DCD5BC9"
    "15A4F4494139CC1CA10A3244FA97E53275F57B5529B4E767379007798E112A4BA056C7B75CEDB132CDF21F7BD3C9976D"
    "9DA38815153477A13B3EBB2046D100A851DC00698F530D19396F00FBEF2C4BF1659EBC4C7FD9556B5FFC93F03CA2D3DF"
    "ACD222A5F028AB430A27EA31136C0C2F50C3C481931A635A37780F00D2727AE71AEE9B40F8D1AAE68535C77A56317812"
    "BEB5525D4A28364F31224ACAC52CF72D",
    16,
)
SQUARE_MODULUS = int(
    "C5C1C3BFBB6B846007715BFF93F391B6421B31575EA2D8EFD5175C416C08BF8729D655C61BB213189E370C9185C37ADD"
    "6FE48D8B47AD4378A98CB2EFA10DA5B23E2EDF3A9BBAE46EEAEB06A0270EA1DE380C639F0881AA2B63B1BBA8DEC2EC8D"
    "80C3F237CEDB2612708BFF3057426941B2CCD81065E61ADA52CBEBC0DAB2BC8D040335CB03A7DFAE667E4503E92F5B90"
    "E1FCED92B2AAADF16428232B2A629C2509C2E11A5F744FDA43E38A5C5B5F48486594049514130838B7CA670578182242"
    "694722B216434A7B4FC7794D8E8CCA7889F49050F094DB73EC9890D3A53385B5743B093B4529C74882AE9E4B9D26E514"
    "E9121C2A9E9B3CF813FE85C320297919",
    16,
)
FERMAT_MODULUS = int(
    "C5CD5088D843E77685B0A4833BCCD18C2E73D18C40A731D91EAF313CC3B8EF50FB588475B4CDC87B041AC3F4E55631CE"
    "585EECA772D6C3F2F91265EF4654E0C570FA2A93D010EE2F80DE0F52DF937BAA4CBEE2C40D13FC75F3D6FF52FD5B982B"
    "477FD970A9B9C4AD7DAF519F3C56991E8DA71D7614B0CCDF150789BD8B816DBE97710DC9DE8EEDBFA524DB6CB7BD0847"
    "AB0829CBF986B8AE000B9453EDA80AD3EAC7EDCB87B882D0FA188E45F31C7CC580DE518A44EC74DECC51BC3BA68AE021"
    "032188DA252EC6DCE3A8C4BCF30179622DD62B27F542192A9CC58AB46A61FC95E80AD0C43BBB3B8F9E7453151FD00238"
    "BCEBE884B556E6D0928E02DAAF29BA5F",
    16,
)


def rsa_key(modulus: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


@pytest.fixture(scope="module")
def sound() -> rsa.RSAPublicKey:
    return rsa.generate_private_key(65537, 2048).public_key()


@pytest.fixture(scope="module")
def modulus(sound: rsa.RSAPublicKey) -> int:
    return sound.public_numbers().n


def refusal(key: CertificatePublicKeyTypes, allowed: tuple[str, ...] = ALL) -> str:
    with pytest.raises(KeyRefusedError) as caught:
        check_key(key, allowed)
    assert caught.value.kind is ErrorKind.BAD_KEY
    assert "\n" not in str(caught.value)
    return str(caught.value)


KEYS: dict[str, Callable[[], CertificatePublicKeyTypes]] = {
    "ec:P-256": lambda: ec.generate_private_key(ec.SECP256R1()).public_key(),
    "ec:P-384": lambda: ec.generate_private_key(ec.SECP384R1()).public_key(),
    "ec:P-521": lambda: ec.generate_private_key(ec.SECP521R1()).public_key(),
    "rsa:2048": lambda: rsa.generate_private_key(65537, 2048).public_key(),
    "ed25519": lambda: ed25519.Ed25519PrivateKey.generate().public_key(),
    "ed448": lambda: ed448.Ed448PrivateKey.generate().public_key(),
}


@pytest.mark.parametrize("text", KEYS)
def test_allowed_exactly_by_its_own_entry(text: str) -> None:
    key = KEYS[text]()
    check_key(key, ALL)
    check_key(key, (text,))
    refusal(key, tuple(other for other in ALL if other != text))
    refusal(key, ())
    refusal(key, (text.upper() + "x",))


def test_rsa_size_is_a_minimum() -> None:
    key = rsa.generate_private_key(65537, 3072).public_key()
    check_key(key, ("rsa:2048",))
    check_key(key, ("rsa:3072",))
    check_key(key, ("rsa:4096", "rsa:2048"))
    assert "4096" in refusal(key, ("rsa:4096",))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        ec.generate_private_key(ec.BrainpoolP256R1()).public_key(),
        dsa.generate_private_key(2048).public_key(),
        x25519.X25519PrivateKey.generate().public_key(),
    ],
    ids=["secp256k1", "brainpool", "dsa", "x25519"],
)
def test_other_algorithms_are_refused(key: CertificatePublicKeyTypes) -> None:
    assert "not certified" in refusal(key)


# For each row of the table: what to make of a sound modulus so that this row, first of all, refuses it.
FAULTS: dict[str, Callable[[int], tuple[int, int]]] = {
    "longer than 8192": lambda n: (n << 6208 | 1, 65537),
    "shorter than 2048": lambda n: (n >> 1024 | 1, 65537),
    "not a multiple of 8": lambda n: (n << 1 | 1, 65537),
    "exponent is even": lambda n: (n, 65538),
    "exponent is not between": lambda n: (n, 65535),
    "factor below 752": lambda n: (n // 8 * 8 + 2, 65537),
    "power of one number": lambda _: (SQUARE_MODULUS, 65537),
    "ROCA": lambda _: (ROCA_MODULUS, 65537),
    "too close": lambda _: (FERMAT_MODULUS, 65537),
}


def _is_prime(number: int) -> bool:
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7))


def _prime(bits: int) -> int:
    chooser = random.Random(bits)
    while True:
        candidate = chooser.getrandbits(bits) | 3 << bits - 2 | 1
        if not has_small_factor(candidate) and _is_prime(candidate):
            return candidate


@pytest.mark.parametrize("check", RSA_CHECKS, ids=lambda check: check.reason)
def test_every_rsa_check_refuses_its_fault_and_spares_a_sound_key(
    check: object, modulus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in RSA_CHECKS if row is check)
    [fault] = [make for words, make in FAULTS.items() if words in row.reason]
    assert not row.applies(rsa.RSAPublicNumbers(65537, modulus))
    n, e = fault(modulus)
    assert row.applies(rsa.RSAPublicNumbers(e, n))
    assert row.source
    monkeypatch.setattr("pkiserver.ca.key_policy.RSA_CHECKS", (row,))
    try:
        key = rsa_key(n, e)
    except ValueError:  # an even exponent: the library itself refuses to make such a key
        return
    assert refusal(key) == row.reason


def test_every_rsa_check_has_its_case() -> None:
    assert len(FAULTS) == len(RSA_CHECKS)
    assert len({check.reason for check in RSA_CHECKS}) == len(RSA_CHECKS)


@pytest.mark.parametrize("exponent", [3, 17, 65535, 2**256 + 1])
def test_exponents_out_of_range(modulus: int, exponent: int) -> None:
    assert "exponent" in refusal(rsa_key(modulus, exponent))


@pytest.mark.parametrize("exponent", [65537, 65539, 2**64 + 13])
def test_exponents_in_range(modulus: int, exponent: int) -> None:
    check_key(rsa_key(modulus, exponent), ALL)


def test_debian_weak_key_is_refused() -> None:
    assert refusal(rsa_key(DEBIAN_MODULUS)) == WEAK_LIST_REASON
    check_key(rsa_key(DEBIAN_MODULUS), ALL, WeakKeyList([]))


def test_published_examples_are_refused_for_their_own_weakness() -> None:
    assert "ROCA" in refusal(rsa_key(ROCA_MODULUS))
    assert "too close" in refusal(rsa_key(FERMAT_MODULUS))
    assert "power of one number" in refusal(rsa_key(SQUARE_MODULUS))


def _roca_prime(primes: int, multiplier_bits: int, seed: int) -> int:
    """Make a prime k·M + (65537^a mod M), M the product of the first primes (Nemec and others, 2017, §2)."""
    chooser, m, candidate = random.Random(seed), 1, 1
    for _ in range(primes):
        candidate += 1
        while any(candidate % q == 0 for q in range(2, candidate)):
            candidate += 1
        m *= candidate
    while True:
        k = chooser.getrandbits(multiplier_bits) | 1 << multiplier_bits - 1
        number = k * m + pow(65537, chooser.getrandbits(200), m)
        if not has_small_factor(number) and _is_prime(number):
            return number


@pytest.mark.parametrize(("primes", "multiplier_bits"), [(39, 37), (71, 37), (126, 53)])
def test_roca_finds_keys_made_as_the_paper_says(primes: int, multiplier_bits: int) -> None:
    p, q = _roca_prime(primes, multiplier_bits, 1), _roca_prime(primes, multiplier_bits, 2)
    assert has_roca_structure(p * q)
    assert not has_roca_structure(p * q + 2)


def test_roca_asks_for_one_exponent_for_all_primes() -> None:
    """A power of 65537 modulo every prime, but even modulo 5 (of order 4) and odd modulo 7 (of order 6)."""
    m, residue = 1, 0
    for prime in (p for p in range(3, 168) if all(p % q for q in range(2, p))):
        wanted = 65537 if prime == 7 else 1
        residue += m * ((wanted - residue) * pow(m, -1, prime) % prime)
        m *= prime
    assert not has_roca_structure(residue)
    assert has_roca_structure(residue + (m // 7) * ((1 - residue) * pow(m // 7, -1, 7) % 7))


def test_fermat_stops_after_its_rounds() -> None:
    p = _prime(256)
    near, far = _next_prime(p), _next_prime(p + (1 << 134))
    assert has_close_primes(p * near)
    assert has_close_primes(p * p)
    assert not has_close_primes(p * far)  # (far - p)^2 / 8p is about 2^9 rounds


def _next_prime(number: int) -> int:
    number += 2
    while not _is_prime(number):
        number += 2
    return number


@pytest.mark.parametrize("exponent", [2, 3, 5, 7, 11, 31])
def test_perfect_powers(exponent: int) -> None:
    base = _prime(2048 // exponent)
    assert is_perfect_power(base**exponent)
    assert not is_perfect_power(base**exponent + 2)
    assert not is_perfect_power(base**exponent * 757)


@given(st.integers(min_value=0, max_value=2**64))
@settings(max_examples=50, deadline=None)
def test_small_factors_are_those_below_752(number: int) -> None:
    number = number * 2 + 3
    assert has_small_factor(number) is any(number % factor == 0 for factor in range(2, 752))


@pytest.mark.parametrize("factor", [2, 3, 743, 751])
def test_small_factor_bounds(factor: int) -> None:
    assert has_small_factor(factor * _prime(64))
    assert not has_small_factor(757 * _prime(64))


# --- points ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name
)
def test_nist_points(curve: ec.EllipticCurve) -> None:
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    constants = NIST_CURVES[curve.name]
    x, y = numbers.x, numbers.y
    assert weierstrass_fault(constants, x, y) is None
    assert weierstrass_fault(constants, x, constants.p - y) is None
    assert weierstrass_fault(constants, x, y + 1) == "the point is not on the curve"
    assert weierstrass_fault(constants, 0, 0) == "the point is not on the curve"
    assert weierstrass_fault(constants, x + constants.p, y) == "a coordinate is not below the field's prime"
    assert weierstrass_fault(constants, x, y - constants.p) == "a coordinate is not below the field's prime"


def test_edwards_points_of_real_keys() -> None:
    for _ in range(4):
        edwards = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        goldilocks = ed448.Ed448PrivateKey.generate().public_key().public_bytes_raw()
        assert edwards_fault(ED25519, edwards) is None
        assert edwards_fault(ED448, goldilocks) is None


def _ed25519_bytes(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        (_ed25519_bytes(0), "small order"),
        (_ed25519_bytes(0, 1), "small order"),
        (_ed25519_bytes(1), "small order"),
        (_ed25519_bytes(ED25519.p - 1), "small order"),
        (bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "small order"),
        (bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "small order"),
        (_ed25519_bytes(1, 1), "only encoding"),
        (_ed25519_bytes(ED25519.p), "only encoding"),
        (_ed25519_bytes(ED25519.p + 1), "only encoding"),
        (_ed25519_bytes(2), "not on the curve"),
    ],
)
def test_ed25519_keys_that_are_none(encoded: bytes, words: str) -> None:
    assert words in str(edwards_fault(ED25519, encoded))
    assert words in refusal(ed25519.Ed25519PublicKey.from_public_bytes(encoded))


@pytest.mark.parametrize("y", [0, 1, ED448.p - 1])
def test_ed448_points_of_small_order(y: int) -> None:
    encoded = y.to_bytes(57, "little")
    assert "small order" in refusal(ed448.Ed448PublicKey.from_public_bytes(encoded))


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_edwards_points_never_raise(encoded: bytes) -> None:
    for curve in (ED25519, ED448):
        fault = edwards_fault(curve, encoded.ljust(curve.octets, b"\0"))
        assert fault is None or isinstance(fault, str)


# --- lists of weak keys ---------------------------------------------------------------------------------


def test_fingerprint_is_that_of_openssl_blacklist() -> None:
    assert rsa_fingerprint(DEBIAN_MODULUS).hex() == "b7ead9492dfd921fc4f9"
    assert PUBLISHED_WEAK_KEYS.has_modulus(DEBIAN_MODULUS)


@given(
    st.sets(st.integers(min_value=1, max_value=2**64), max_size=30), st.integers(min_value=1, max_value=2**64)
)
@settings(max_examples=40, deadline=None)
def test_list_holds_exactly_what_was_put_in(moduli: set[int], other: int) -> None:
    weak = WeakKeyList(map(rsa_fingerprint, moduli))
    assert len(weak) == len(moduli)
    assert all(map(weak.has_modulus, moduli))
    assert weak.has_modulus(other) is (other in moduli)


def test_blacklist_files_are_read(tmp_path: Path, sound: rsa.RSAPublicKey, modulus: int) -> None:
    first, second = tmp_path / "blacklist.RSA-2048", tmp_path / "blacklist.RSA-4096"
    first.write_text(f"# a comment\n\n{rsa_fingerprint(modulus).hex()}\n00000000000000000000\r\n")
    second.write_text("ffffffffffffffffffff")
    weak = load_weak_keys([first, second])
    assert len(weak) == 3 + len(PUBLISHED_WEAK_KEYS)
    assert weak.has_modulus(DEBIAN_MODULUS)
    check_key(sound, ALL)
    with pytest.raises(KeyRefusedError, match="CVE-2008-0166"):
        check_key(sound, ALL, weak)


@pytest.mark.parametrize(
    "text", ["xyz", "00" * 9, "00" * 11, "00 " * 10, "00" * 2000, "é" * 10], ids=lambda text: text[:6]
)
def test_malformed_lists_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list"
    path.write_text(f"# fine\n{text}\n", encoding="utf-8")
    with pytest.raises(WeakKeyListError, match="list line 2"):
        load_weak_keys([path])


def test_missing_and_oversize_lists_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list"
    with pytest.raises(WeakKeyListError, match="cannot be read"):
        load_weak_keys([path])
    path.write_text("\n".join(f"{number:020x}" for number in range(12)))
    monkeypatch.setattr("pkiserver.ca.weak_keys.MAX_ENTRIES", 10)
    with pytest.raises(WeakKeyListError, match="more than 10"):
        load_weak_keys([path])
