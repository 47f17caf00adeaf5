"""What CMC requests and responses share (RFC 5272 §3.2.1, §3.2.2): parts tagged by body part IDs."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Final, Protocol, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import MAX_ATTRIBUTE_VALUES
from protocols.cms.content_info import ContentInfo
from protocols.errors import MalformedError

BODY_PART_ID_MAX: Final = 4294967295  # bodyIdMax
THIS_PKI_DATA: Final = 0  # §3.2.2: reserved as the reference to the current PKIData
MAX_BODY_PARTS: Final = 32  # of each sequence; a client sends one request and up to six controls
MAX_PATH: Final = 8  # how deep a reference may point


def parse_body_part_id(reader: Reader) -> int:
    """Read a BodyPartID; `MalformedError` where it is not within 0..bodyIdMax."""
    value = reader.integer()
    if not 0 <= value <= BODY_PART_ID_MAX:
        raise MalformedError("a body part ID is not within 0 and 4294967295")
    return value


class BodyPart(Protocol):
    """An element of a PKIData or PKIResponse."""

    @property
    def body_part_id(self) -> int:
        """The ID, unique in its message."""


def check_unique(*sequences: Iterable[BodyPart]) -> None:
    """Raise `MalformedError` where an ID is given twice, or is the reserved 0 (§3.2.2)."""
    seen: set[int] = set()
    for part in chain.from_iterable(sequences):
        body_part_id = part.body_part_id
        if body_part_id == THIS_PKI_DATA:
            raise MalformedError("a body part has the ID 0, which is reserved (RFC 5272 §3.2.2)")
        if body_part_id in seen:
            raise MalformedError("two body parts have one ID (RFC 5272 §3.2.2)")
        seen.add(body_part_id)


@dataclass(frozen=True, slots=True)
class TaggedAttribute:
    """A control (§3.2.1.1); `values` holds DER values. What is known of it says `controls`."""

    body_part_id: int
    attr_type: str
    values: tuple[bytes, ...]

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a TaggedAttribute."""
        fields = reader.enter()
        control = cls(
            parse_body_part_id(fields),
            fields.oid(),
            der.repeated(
                fields.enter(der.SET),
                lambda inner: inner.read_any()[1],
                at_most=MAX_ATTRIBUTE_VALUES,
                what="values of a control",
            ),
        )
        fields.finish()
        return control

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.integer(self.body_part_id), der.oid(self.attr_type), der.set_of(self.values))

    def single_value(self) -> bytes:
        """Return the one value; `MalformedError` where there is none or several."""
        if len(self.values) != 1:
            raise MalformedError(f"control {self.body_part_id} has {len(self.values)} values, not one")
        return self.values[0]


@dataclass(frozen=True, slots=True)
class TaggedContentInfo:
    """A CMS message inside (§3.2.1.3)."""

    body_part_id: int
    content_info: ContentInfo

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a TaggedContentInfo."""
        fields = reader.enter()
        tagged = cls(parse_body_part_id(fields), ContentInfo.parse(fields))
        fields.finish()
        return tagged

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.integer(self.body_part_id), self.content_info.encode())


@dataclass(frozen=True, slots=True)
class OtherMsg:
    """Data of any type that a control may refer to (§3.2.1.4); `value` is DER."""

    body_part_id: int
    other_msg_type: str
    value: bytes

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an OtherMsg."""
        fields = reader.enter()
        message = cls(parse_body_part_id(fields), fields.oid(), fields.read_any()[1])
        fields.finish()
        return message

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(der.integer(self.body_part_id), der.oid(self.other_msg_type), self.value)


def parse_controls(reader: Reader) -> tuple[TaggedAttribute, ...]:
    """Read a controlSequence."""
    return der.repeated(
        reader.enter(), TaggedAttribute.parse, at_most=MAX_BODY_PARTS, what="controls of a CMC message"
    )


def parse_content_infos(reader: Reader) -> tuple[TaggedContentInfo, ...]:
    """Read a cmsSequence."""
    return der.repeated(
        reader.enter(), TaggedContentInfo.parse, at_most=MAX_BODY_PARTS, what="messages in a CMC message"
    )


def parse_other_msgs(reader: Reader) -> tuple[OtherMsg, ...]:
    """Read an otherMsgSequence."""
    return der.repeated(
        reader.enter(), OtherMsg.parse, at_most=MAX_BODY_PARTS, what="other messages in a CMC message"
    )


def encode_parts(parts: Iterable[TaggedAttribute | TaggedContentInfo | OtherMsg]) -> bytes:
    """Return the SEQUENCE OF these parts."""
    return der.sequence(*(part.encode() for part in parts))
