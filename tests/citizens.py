"""The citizen of the tests, as his form has him; others are he with other values."""

from typing import Any, Final

FORM: Final[dict[str, Any]] = {
    "aimag": "Улаанбаатар",
    "district": "Сүхбаатар",
    "register_number": "УБ05231418",
    "civil_id": "123456789012",
    "birth_date": "2005-03-14",
    "parent_name": "Бат",
    "given_name": "Дорж",
    "address": "1-р хороо 5-12",
    "phone": "99112233",
    "mail": "dorj@example.mn",
    "use_restricted": False,
    "value_limited": True,
    "limit_mnt": 5_000_000,
}
UNLIMITED_FORM: Final = {name: value for name, value in FORM.items() if name != "limit_mnt"} | {
    "value_limited": False
}
