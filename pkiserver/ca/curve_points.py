"""Validation of public points: NIST SP 800-56A §5.6.2.3 for the NIST curves, RFC 8032 for the Edwards ones.

The loader checks most of this already. It is repeated here because a certificate must not depend on what a
version of a library happens to refuse, and because Edwards points are not looked at before their first use.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class WeierstrassCurve:
    """y² = x³ - 3x + b modulo p (NIST SP 800-186 §3.2.1); the order is prime: no point is of small order."""

    p: int
    b: int


@dataclass(frozen=True, slots=True)
class EdwardsCurve:
    """a·x² + y² = 1 + d·x²·y² modulo p (RFC 7748 §4); `doublings` of a point of small order give (0, 1)."""

    p: int
    a: int
    d: int
    octets: int
    doublings: int


_P256: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_P384: Final = 2**384 - 2**128 - 2**96 + 2**32 - 1
_P521: Final = 2**521 - 1
_P25519: Final = 2**255 - 19
_P448: Final = 2**448 - 2**224 - 1

NIST_CURVES: Final = {
    "secp256r1": WeierstrassCurve(_P256, 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B),
    "secp384r1": WeierstrassCurve(
        _P384,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "secp521r1": WeierstrassCurve(
        _P521,
        0x0051_953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
}
ED25519: Final = EdwardsCurve(_P25519, -1, -121665 * pow(121666, -1, _P25519) % _P25519, 32, 3)
ED448: Final = EdwardsCurve(_P448, 1, -39081, 57, 2)


def weierstrass_fault(curve: WeierstrassCurve, x: int, y: int) -> str | None:
    """Return why (x, y) is no public key on `curve`, None when it is one. Infinity has no coordinates."""
    if not (0 <= x < curve.p and 0 <= y < curve.p):
        return "a coordinate is not below the field's prime"
    if (y * y - (x * x * x - 3 * x + curve.b)) % curve.p:
        return "the point is not on the curve"
    return None


def edwards_fault(curve: EdwardsCurve, encoded: bytes) -> str | None:
    """Return why `encoded` (RFC 8032 §5.1.2, §5.2.2) is no public key on `curve`, None when it is one."""
    number = int.from_bytes(encoded, "little")
    sign_bit = 8 * curve.octets - 1
    y = number & ((1 << sign_bit) - 1)
    if len(encoded) != curve.octets or y >= curve.p:
        return "the point is not in its only encoding"
    x_square = (y * y - 1) * pow(curve.d * y * y - curve.a, -1, curve.p) % curve.p
    if pow(x_square, (curve.p - 1) // 2, curve.p) == curve.p - 1:
        return "the point is not on the curve"
    if x_square == 0 and number >> sign_bit:
        return "the point is not in its only encoding"
    return "the point is of small order" if _is_of_small_order(curve, x_square, y) else None


def _is_of_small_order(curve: EdwardsCurve, x_square: int, y: int) -> bool:
    """Return True when repeated doubling ends at (0, 1). Only x² is needed: doubling ignores x's sign."""
    p = curve.p
    for _ in range(curve.doublings):
        total = (curve.a * x_square + y * y) % p
        inverse_x, inverse_y = pow(total, -1, p), pow(2 - total, -1, p)
        x_square, y = (
            4 * x_square * y * y * inverse_x * inverse_x % p,
            (y * y - curve.a * x_square) * inverse_y % p,
        )
    return (x_square, y) == (0, 1)
