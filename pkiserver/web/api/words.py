"""What the API says to people, in Mongolian and English: of each kind of refusal, and of a wrong value."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from protocols.errors import ErrorKind

MAX_ACCEPT_LANGUAGE_CHARACTERS: Final = 300  # browsers send under 100
_RANGE: Final = re.compile(
    r"([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?"
)


class Language(Enum):
    """A language that the API speaks."""

    ENGLISH = "en"
    MONGOLIAN = "mn"


def language_of(accept_language: str) -> Language:
    """Return which of our languages a client would rather read (RFC 9110 §12.5.4); English where none."""
    weights: dict[str, float] = {}
    for part in accept_language[:MAX_ACCEPT_LANGUAGE_CHARACTERS].split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is not None:
            weights.setdefault(found[1].lower(), float(found[2] or 1))
    others = weights.get("*", 0.0)
    mongolian, english = weights.get("mn", others), weights.get("en", others)
    return Language.MONGOLIAN if mongolian > english else Language.ENGLISH


@dataclass(frozen=True, slots=True)
class Words:
    """A kind of refusal in plain words: what it is, and what to do."""

    mn: tuple[str, str]
    en: tuple[str, str]

    def spoken(self, language: Language) -> tuple[str, str]:
        """Return title and advice."""
        return self.mn if language is Language.MONGOLIAN else self.en


WORDS: Final[dict[ErrorKind, Words]] = {
    ErrorKind.MALFORMED: Words(
        ("Хүсэлтийг унших боломжгүй", "Хүсэлтийн бичлэг буруу байна. Засаад дахин илгээнэ үү."),
        ("The request cannot be read", "Its form is wrong. Correct it and send it again."),
    ),
    ErrorKind.TOO_LARGE: Words(
        ("Хүсэлт хэт том байна", "Зөвшөөрсөн хэмжээнээс хэтэрсэн. Багасгаад дахин илгээнэ үү."),
        ("The request is too large", "It exceeds a bound. Send less at once."),
    ),
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: Words(
        ("Энэ төрлийн агуулгыг хүлээн авахгүй", "Агуулгыг JSON хэлбэрээр (application/json) илгээнэ үү."),
        ("This type of content is not taken", "Send JSON (application/json)."),
    ),
    ErrorKind.BAD_POP: Words(
        (
            "Түлхүүрийг эзэмшиж байгаа нь нотлогдсонгүй",
            "Хүсэлтийг тухайн түлхүүрээр гарын үсэг зурж илгээнэ үү.",
        ),
        ("Possession of the key is not proved", "Sign the request with the key that it is for."),
    ),
    ErrorKind.BAD_MESSAGE_CHECK: Words(
        ("Гарын үсэг таарахгүй байна", "Мессеж өөрчлөгдсөн эсвэл өөр түлхүүрээр зурагдсан байна."),
        ("The signature does not verify", "The message was altered, or signed with another key."),
    ),
    ErrorKind.BAD_ALGORITHM: Words(
        ("Алгоритмыг дэмжихгүй", "Зөвшөөрсөн алгоритмаар дахин хүсэлт гаргана уу."),
        ("The algorithm is not supported", "Ask again with one that is."),
    ),
    ErrorKind.BAD_KEY: Words(
        ("Нийтийн түлхүүрийг зөвшөөрөхгүй", "Шинэ түлхүүр үүсгээд дахин хүсэлт гаргана уу."),
        ("The public key is refused", "Make a new key and ask again."),
    ),
    ErrorKind.BAD_REQUEST: Words(
        ("Хүсэлтийг зөвшөөрөхгүй", "Хүссэн зүйл журмаар хориглогдсон байна."),
        ("The request is not allowed", "What it asks for is against the rules."),
    ),
    ErrorKind.NOT_AUTHENTICATED: Words(
        ("Хэн болох нь тогтоогдсонгүй", "Бүртгэлтэй гэрчилгээгээр холбогдоно уу."),
        ("It is not known who asks", "Connect with a registered certificate."),
    ),
    ErrorKind.NOT_AUTHORIZED: Words(
        ("Танд эрх байхгүй", "Энэ үйлдлийг хийх эрхийг администратороос хүснэ үү."),
        ("You may not do this", "Ask an administrator for the right, or somebody who has it."),
    ),
    ErrorKind.NOT_FOUND: Words(
        ("Олдсонгүй", "Хаяг, дугаарыг шалгана уу."),
        ("There is no such thing", "Check the address and the number."),
    ),
    ErrorKind.CONFLICT: Words(
        ("Одоогийн төлөвт боломжгүй", "Одоогийн төлөвийг харж, дараа нь шийднэ үү."),
        ("Its present state does not allow this", "Look at its state and decide again."),
    ),
    ErrorKind.PRECONDITION_FAILED: Words(
        ("Таныг харснаас хойш өөрчлөгдсөн", "Дахин харж, дараа нь шийднэ үү."),
        ("It was changed since you saw it", "Look at it again, then decide."),
    ),
    ErrorKind.PRECONDITION_REQUIRED: Words(
        ("Ямар хувилбарыг харснаа хэлнэ үү", "Сүүлийн хариултын ETag-ийг If-Match толгойд илгээнэ үү."),
        ("Say which version you saw", "Send the ETag of the last answer in If-Match."),
    ),
    ErrorKind.UNPROCESSABLE: Words(
        ("Зарим утга буруу байна", "Нэрлэсэн талбаруудыг засаад дахин илгээнэ үү."),
        ("Some values are wrong", "Correct the fields that are named and send it again."),
    ),
    ErrorKind.TOO_MANY_REQUESTS: Words(
        ("Хэт олон хүсэлт ирлээ", "Түр хүлээгээд дахин оролдоно уу."),
        ("Too many requests", "Wait a little and try again."),
    ),
    ErrorKind.PENDING: Words(
        ("Шийдвэр хүлээж байна", "Дараа нь ижил хүсэлтийг дахин илгээнэ үү."),
        ("It waits for a decision", "Send the same request again later."),
    ),
    ErrorKind.UNAVAILABLE: Words(
        ("Одоогоор боломжгүй байна", "Түр хүлээгээд дахин оролдоно уу."),
        ("It cannot be done now", "Wait a little and try again."),
    ),
    # Of the messages of CMP: the API itself refuses nothing so.
    **dict.fromkeys(
        (
            ErrorKind.BAD_TIME,
            ErrorKind.BAD_CERT_ID,
            ErrorKind.BAD_CERT_TEMPLATE,
            ErrorKind.BAD_SENDER_NONCE,
            ErrorKind.BAD_RECIPIENT_NONCE,
            ErrorKind.CERT_REVOKED,
            ErrorKind.CERT_CONFIRMED,
            ErrorKind.INCOMPLETE,
            ErrorKind.SIGNER_NOT_TRUSTED,
            ErrorKind.TRANSACTION_ID_IN_USE,
            ErrorKind.UNSUPPORTED_VERSION,
            ErrorKind.WRONG_INTEGRITY,
        ),
        Words(
            ("CMP мессежийг хүлээн авсангүй", "Мессежийг засаад дахин илгээнэ үү."),
            ("The CMP message is refused", "Correct the message and send it again."),
        ),
    ),
    ErrorKind.INTERNAL: Words(
        ("Сервер дээр алдаа гарлаа", "Хүсэлтийн дугаарыг операторт мэдэгдэнэ үү."),
        ("The server failed", "Tell the operator the number of the request."),
    ),
}

# By the types of pydantic's errors; all others are wrong values.
_FIELDS: Final[dict[str, tuple[str, str]]] = {
    "missing": ("заавал бөглөнө", "is required"),
    "extra_forbidden": ("ийм талбар байхгүй", "there is no such field"),
    "duplicate": ("нэг удаа л байж болно", "may stand there once"),
    "string_too_long": ("хэт урт", "is too long"),
    "string_too_short": ("хэт богино", "is too short"),
    "string_pattern_mismatch": ("бичлэг буруу", "is not written as it must be"),
    "timezone_aware": ("цагийн бүс дутуу", "needs a time zone: 2026-01-31T12:00:00Z"),
}
_WRONG: Final = ("утга буруу", "is not an allowed value")


def field_words(error_type: str, language: Language) -> str:
    """Return what is wrong with a field, by the type of pydantic's error."""
    mongolian, english = _FIELDS.get(error_type, _WRONG)
    return mongolian if language is Language.MONGOLIAN else english


# What the form IUB-41 asks of each field; in English the fault itself says it.
_FORM: Final[dict[str, str]] = {
    "aimag": "аймаг, нийслэлийн нэрийг 64 хүртэл тэмдэгтээр бичнэ",
    "district": "сум, дүүргийн нэрийг 64 хүртэл тэмдэгтээр бичнэ",
    "register_number": "хоёр кирилл үсэг, найман цифр байна: УБ05231418",
    "civil_id": "иргэний бүртгэлийн дугаар 12 цифр байна",
    "birth_date": "регистрийн дугаартай таарсан, 16 нас хүрснийг харуулсан огноо байна: 2005-03-14",
    "parent_name": "эцэг, эхийн нэр үсгээс бүрдэнэ",
    "clan_name": "ургийн овог үсгээс бүрдэнэ",
    "given_name": "өөрийн нэр үсгээс бүрдэнэ, эцэг, эхийн нэртэй нийлээд 64 тэмдэгтээс хэтрэхгүй",
    "address": "байнгын хаягийг 300 хүртэл тэмдэгтээр бичнэ",
    "phone": "ашиглагдаж байгаа дугаар байна: +976, найман цифр",
    "mail": "цахим шуудангийн хаяг буруу",
    "use_restricted": "тийм эсвэл үгүй гэж бөглөнө",
    "value_limited": "тийм эсвэл үгүй гэж бөглөнө",
    "limit_mnt": "гүйлгээний дүнг хязгаарласан бол төгрөгөөр, бүхэл тоогоор заавал бөглөнө",
}


def form_words(field: str) -> str:
    """Return in Mongolian what the form IUB-41 asks of a field."""
    return _FORM.get(field, _WRONG[0])
