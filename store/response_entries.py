"""What the table of prebuilt OCSP responses holds: keys, entries and the records that entries share.

An entry keeps what varies from certificate to certificate; what many share (the responder's algorithm and
certificates, the issuers answered for) is kept once. Both ways here, bytes <-> tuples; what they mean on the
wire is the business of `protocols.ocsp`.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from store.errors import DamagedExportError, StorageError

MAX_KEY_OCTETS: Final = 511  # LMDB's own limit; no key over it can be in the table
MAX_AUTHORITY: Final = 0xFEFF  # keys from 0xFFFF on are the shared records
NEVER: Final = 0xFFFF_FFFF  # Unix seconds; the year 2106, the end of what an entry can say

_FORMAT: Final = b"\x00\x01"
SHARED: Final = b"\xff\xff"
FORMAT_KEY: Final = SHARED + b"f"
FORMAT_RECORD: Final = (FORMAT_KEY, _FORMAT)  # every table has it
EXPORTED_KEY: Final = SHARED + b"e"
ISSUER: Final = SHARED + b"i"
POSITION_KEY: Final = SHARED + b"p"
RESPONDER: Final = SHARED + b"r"
REVISION_KEY: Final = SHARED + b"v"
ENTRY_HEADER: Final = struct.Struct(">HIIH")  # responder, thisUpdate, nextUpdate, octets of response data
NEXT_UPDATE_AT: Final = 6  # in the header of an entry
UNIX_TIME: Final = struct.Struct(">I")
_ENTRY_OCTETS: Final = ENTRY_HEADER.size
_tuple: Final = tuple.__new__  # a named tuple's own constructor is a second call
SHORT: Final = struct.Struct(">H")
NUMBER: Final = struct.Struct(">Q")


class ResponseEntry(NamedTuple):
    """What varies in one OCSP response; a named tuple, since one is made for each look-up.

    `responder` says which shared parts complete it; `this_update` and `next_update` are Unix seconds (to
    the year 2106), repeated from `response_data`, the DER ResponseData (RFC 6960 §4.2.1); `signature` is
    the signature's octets, without the BIT STRING around them.
    """

    responder: int
    this_update: int
    next_update: int
    response_data: bytes
    signature: bytes

    def pack(self) -> bytes:
        """Return the entry as the table keeps it; `ValueError` where a number does not fit."""
        try:
            header = ENTRY_HEADER.pack(
                self.responder, self.this_update, self.next_update, len(self.response_data)
            )
        except struct.error as error:
            raise ValueError("a number of the response entry is out of range") from error
        return header + self.response_data + self.signature

    @classmethod
    def unpack(cls, value: bytes) -> Self:
        """Return the entry of a packed value; `StorageError` where it is none."""
        try:
            responder, this_update, next_update, length = ENTRY_HEADER.unpack_from(value)
        except struct.error as error:
            raise StorageError("an entry of the response table is damaged") from error
        end = _ENTRY_OCTETS + length
        if end > len(value):
            raise StorageError("an entry of the response table is damaged")
        return _tuple(cls, (responder, this_update, next_update, value[_ENTRY_OCTETS:end], value[end:]))


@dataclass(frozen=True, slots=True)
class ResponderParts:
    """What all responses of one responder certificate share.

    `signature_algorithm` is a DER AlgorithmIdentifier, `certificates` DER certificates one after another.
    """

    responder: int
    signature_algorithm: bytes
    certificates: bytes

    def pack(self) -> bytes:
        """Return the shared parts as the table keeps them, without the number."""
        return SHORT.pack(len(self.signature_algorithm)) + self.signature_algorithm + self.certificates

    @classmethod
    def unpack(cls, responder: int, value: bytes) -> Self:
        """Return the parts of a packed value."""
        end = SHORT.size + SHORT.unpack_from(value)[0]
        return cls(responder, value[SHORT.size : end], value[end:])


def response_key(authority: int, serial: bytes) -> bytes:
    """Return the key of a certificate's response.

    `serial` is the serial number's INTEGER content octets as they stand in DER. `ValueError` where
    `authority` is not within 0 to `MAX_AUTHORITY`.
    """
    if not 0 <= authority <= MAX_AUTHORITY:
        raise ValueError("the number of the authority is out of range")
    return SHORT.pack(authority) + serial


def is_response(key: bytes) -> bool:
    """Tell the key of a response from those of the shared records."""
    return not key.startswith(SHARED)


def check_record(key: bytes, value: bytes) -> None:
    """Raise `DamagedExportError` for a record that no writer of a table made, as far as the record shows."""
    try:
        if not key.startswith(SHARED):
            sound = 2 < len(key) <= MAX_KEY_OCTETS and SHORT.unpack_from(key)[0] <= MAX_AUTHORITY
            sound = sound and bool(ResponseEntry.unpack(value).response_data)
        elif key.startswith(ISSUER):
            sound = SHORT.unpack(value)[0] <= MAX_AUTHORITY
        elif key.startswith(RESPONDER):
            sound = bool(ResponderParts.unpack(SHORT.unpack(key[3:])[0], value).signature_algorithm)
        elif key == FORMAT_KEY:
            sound = value == _FORMAT
        else:
            sound = key in (POSITION_KEY, REVISION_KEY) and len(value) == NUMBER.size
    except (StorageError, struct.error) as error:
        raise DamagedExportError("a record of the export is damaged") from error
    if not sound:
        raise DamagedExportError("the export holds a record that no table has, or is of another version")


def exported_record(exported_at: int) -> tuple[bytes, bytes]:
    """Return the record by which an imported table knows when it was exported, in Unix seconds."""
    return EXPORTED_KEY, NUMBER.pack(exported_at)
