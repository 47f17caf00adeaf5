"""The two people of the stories. Both are invented: their names say so, their mail is nobody's (RFC 2606)."""

from typing import Any, Final

MAIL_DOMAIN: Final = "demo.example.com"
FINGERPRINT: Final = "demo-check-1"
CITIZEN: Final[dict[str, Any]] = {
    "aimag": "Улаанбаатар",
    "district": "Сүхбаатар",
    "register_number": "ДЭ05231418",
    "civil_id": "000000000001",
    "birth_date": "2005-03-14",
    "parent_name": "Демо",
    "given_name": "Иргэн",
    "address": "Демо 1-1",
    "phone": "99999999",
    "mail": f"citizen@{MAIL_DOMAIN}",
    "use_restricted": False,
    "value_limited": True,
    "limit_mnt": 5_000_000,
}
OFFICER: Final[dict[str, str]] = {
    "parent_name": "Демо",
    "given_name": "Түшмэл",
    "register_number": "ДЭ90051207",
    "civil_id": "000000000002",
    "work_mail": f"officer@{MAIL_DOMAIN}",
    "phone": "99999998",
    "position": "Мэргэжилтэн",
}


def registry_lines() -> list[dict[str, Any]]:
    """Return what the civil registry is to know of them."""
    names = ("register_number", "civil_id", "parent_name", "given_name")
    return [
        {name: one[name] for name in names}
        | {"birth_date": born, "clan_name": None, "entitled": True, "fingerprints": fingerprints}
        for one, born, fingerprints in (
            (CITIZEN, CITIZEN["birth_date"], [FINGERPRINT]),
            (OFFICER, "1990-05-12", []),
        )
    ]


def officer_list() -> str:
    """Return the list, as CSV, by which the organisation names its officer."""
    return f"{','.join(OFFICER)}\n{','.join(OFFICER.values())}\n"
