"""Protection by a secret (RFC 9810 §5.1.3.1): PasswordBasedMac (RFC 4211 §4.4), PBMAC1 (RFC 8018 §7.1).

What a client names is held to `MACBounds` before any work is done for it.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final, Self

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import NULL_PARAMETERS, AlgorithmIdentifier
from protocols.errors import BadMACError, MalformedError, UnsupportedAlgorithmError

# SHA-1 is no one-way function of RFC 9481 §2; HMAC with it stays, for `openssl cmp` sends it by default.
ONE_WAY_FUNCTIONS: Final = {oid.SHA256: "sha256", oid.SHA384: "sha384", oid.SHA512: "sha512"}
PSEUDORANDOM_FUNCTIONS: Final = {
    oid.HMAC_WITH_SHA256: "sha256",
    oid.HMAC_WITH_SHA384: "sha384",
    oid.HMAC_WITH_SHA512: "sha512",
}
MAC_ALGORITHMS: Final = {oid.HMAC_SHA1: "sha1", oid.HMAC_WITH_SHA1: "sha1", **PSEUDORANDOM_FUNCTIONS}
MIN_KEY_OCTETS: Final = 16  # of PBMAC1: 128 bits of strength
MAX_KEY_OCTETS: Final = 64  # the longest output of a hash here; each block of PBKDF2 costs all iterations


@dataclass(frozen=True, slots=True)
class MACBounds:
    """What a client may name. RFC 9045 §4.3 has 100 iterations at least, RFC 4211 §4.4 salt of 8 octets."""

    min_iterations: int = 100
    max_iterations: int = 100_000  # up to 60 ms of work
    min_salt_octets: int = 8
    max_salt_octets: int = 128

    def check(self, salt: bytes, iteration_count: int) -> None:
        """Raise `UnsupportedAlgorithmError` for what is out of bounds."""
        if not self.min_iterations <= iteration_count <= self.max_iterations:
            raise UnsupportedAlgorithmError(
                f"iterationCount of the MAC is not within {self.min_iterations} and {self.max_iterations}"
            )
        if not self.min_salt_octets <= len(salt) <= self.max_salt_octets:
            raise UnsupportedAlgorithmError(
                f"salt of the MAC is not of {self.min_salt_octets} to {self.max_salt_octets} octets"
            )


DEFAULT_BOUNDS: Final = MACBounds()


def _digest(algorithm: AlgorithmIdentifier, known: dict[str, str], what: str) -> str:
    """Return the name of the hash; parameters are NULL or absent (RFC 5754 §2, RFC 9045 §4.4)."""
    if algorithm.oid not in known:
        raise UnsupportedAlgorithmError(f"{what} {algorithm.oid} is not supported")
    if algorithm.parameters not in (None, NULL_PARAMETERS):
        raise MalformedError(f"parameters of {what} are neither NULL nor absent")
    return known[algorithm.oid]


@dataclass(frozen=True, slots=True)
class PBMParameter:
    """The parameters of a PasswordBasedMac."""

    salt: bytes
    owf: AlgorithmIdentifier
    iteration_count: int
    mac: AlgorithmIdentifier

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PBMParameter."""
        fields = reader.enter()
        parameters = cls(
            fields.octet_string(),
            AlgorithmIdentifier.parse(fields),
            fields.integer(),
            AlgorithmIdentifier.parse(fields),
        )
        fields.finish()
        return parameters

    def algorithm(self) -> AlgorithmIdentifier:
        """Return the protectionAlg that says this."""
        parameters = (
            der.octet_string(self.salt),
            self.owf.encode(),
            der.integer(self.iteration_count),
            self.mac.encode(),
        )
        return AlgorithmIdentifier(oid.PASSWORD_BASED_MAC, der.sequence(*parameters))

    def check(self, bounds: MACBounds) -> None:
        """Raise `UnsupportedAlgorithmError` for what is unknown or out of bounds."""
        _digest(self.owf, ONE_WAY_FUNCTIONS, "one-way function")
        _digest(self.mac, MAC_ALGORITHMS, "MAC")
        bounds.check(self.salt, self.iteration_count)

    def key_of(self, secret: bytes) -> "MACKey":
        """Return the key; HMAC takes one of any length, so it is not expanded (RFC 9810 §5.1.3.1)."""
        one_way = getattr(hashlib, _digest(self.owf, ONE_WAY_FUNCTIONS, "one-way function"))
        key = secret + self.salt
        for _ in range(self.iteration_count):
            key = one_way(key).digest()
        return MACKey(self, _digest(self.mac, MAC_ALGORITHMS, "MAC"), key)


@dataclass(frozen=True, slots=True)
class PBMAC1Parameter:
    """The parameters of PBMAC1 with PBKDF2, whose salt is `specified` and whose keyLength is there."""

    salt: bytes
    iteration_count: int
    key_octets: int
    prf: AlgorithmIdentifier
    mac: AlgorithmIdentifier

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read PBMAC1-params (RFC 8018 §A.5)."""
        fields = reader.enter()
        derivation = AlgorithmIdentifier.parse(fields)
        mac = AlgorithmIdentifier.parse(fields)
        fields.finish()
        if derivation.oid != oid.PBKDF2 or derivation.parameters is None:
            raise UnsupportedAlgorithmError("PBMAC1 is supported with PBKDF2 only")
        salt, iteration_count, key_octets, prf = der.whole(derivation.parameters, _pbkdf2)
        return cls(salt, iteration_count, key_octets, prf, mac)

    def algorithm(self) -> AlgorithmIdentifier:
        """Return the protectionAlg that says this."""
        pbkdf2 = der.sequence(
            der.octet_string(self.salt),
            der.integer(self.iteration_count),
            der.integer(self.key_octets),
            self.prf.encode(),
        )
        derivation = AlgorithmIdentifier(oid.PBKDF2, pbkdf2)
        return AlgorithmIdentifier(oid.PBMAC1, der.sequence(derivation.encode(), self.mac.encode()))

    def check(self, bounds: MACBounds) -> None:
        """Raise `UnsupportedAlgorithmError` for what is unknown or out of bounds."""
        _digest(self.prf, PSEUDORANDOM_FUNCTIONS, "pseudorandom function")
        _digest(self.mac, MAC_ALGORITHMS, "MAC")
        bounds.check(self.salt, self.iteration_count)
        if not MIN_KEY_OCTETS <= self.key_octets <= MAX_KEY_OCTETS:
            raise UnsupportedAlgorithmError(
                f"keyLength of the MAC is not within {MIN_KEY_OCTETS} and {MAX_KEY_OCTETS}"
            )

    def key_of(self, secret: bytes) -> "MACKey":
        """Return the key."""
        prf = _digest(self.prf, PSEUDORANDOM_FUNCTIONS, "pseudorandom function")
        key = hashlib.pbkdf2_hmac(prf, secret, self.salt, self.iteration_count, self.key_octets)
        return MACKey(self, _digest(self.mac, MAC_ALGORITHMS, "MAC"), key)


def _pbkdf2(reader: Reader) -> tuple[bytes, int, int, AlgorithmIdentifier]:
    """Read PBKDF2-params (RFC 8018 §A.2)."""
    fields = reader.enter()
    if fields.peek() != der.OCTET_STRING:
        raise UnsupportedAlgorithmError("PBKDF2 is supported with a specified salt only")
    salt, iteration_count = fields.octet_string(), fields.integer()
    if fields.peek() != der.INTEGER:
        raise UnsupportedAlgorithmError("PBKDF2 for a MAC needs its keyLength")  # HMAC has none of its own
    key_octets = fields.integer()
    if fields.at_end:
        raise UnsupportedAlgorithmError("PBKDF2 with SHA-1 is not supported")  # the DEFAULT of prf
    prf = AlgorithmIdentifier.parse(fields)
    fields.finish()
    return salt, iteration_count, key_octets, prf


MACParameters = PBMParameter | PBMAC1Parameter


@dataclass(frozen=True, slots=True)
class MACKey:
    """A key derived from a secret; deriving one is the costly part, so one serves for request and answer."""

    parameters: MACParameters
    digest: str
    key: bytes = field(repr=False)

    def compute(self, part: bytes) -> bytes:
        """Return the MAC of a DER ProtectedPart."""
        return hmac.digest(self.key, part, self.digest)

    def verify(self, part: bytes, protection: bytes) -> None:
        """Raise `BadMACError` unless `protection` is the MAC of `part`; in constant time."""
        if not hmac.compare_digest(self.compute(part), protection):
            raise BadMACError("the message was not protected with this secret")
