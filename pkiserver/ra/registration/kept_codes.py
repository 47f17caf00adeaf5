"""The unblock codes (PUK, SO PIN) of tokens as they are kept: encrypted for the token's serial alone.

They stand where personal data do and have the same key, which is replaced while the server works. What may
be done with them, and by whom, is `pkiserver.ra.unblocking`'s to decide.
"""

import hmac
import re
from datetime import datetime
from typing import Final

from pkiserver.errors import ConflictError, RefusedError, UnavailableError
from pkiserver.ra.registration.carriers import State
from pkiserver.ra.registration.personal_data import PersonalData
from store import unblock_codes as rows
from store.carriers import CarrierRecord
from store.database import Transaction

SUBJECT: Final = "unblock_codes"  # whose rows they are among the personal data
MIN_CHARACTERS: Final = 4
MAX_CHARACTERS: Final = 64  # 48 hexadecimal digits are the longest that is in use: the key of a PIV card
# What pads and tokens take: printable ASCII without blanks.
PATTERN: Final = rf"^[!-~]{{{MIN_CHARACTERS},{MAX_CHARACTERS}}}$"
_CODE: Final = re.compile(PATTERN.strip("^$"), re.ASCII)


def require_code(text: str, what: str) -> None:
    """`RefusedError`, quoting nothing, for what no carrier takes as a PIN, PUK or unblock code."""
    if _CODE.fullmatch(text) is None:
        raise RefusedError(f"{what} has {MIN_CHARACTERS} to {MAX_CHARACTERS} printable ASCII characters")


class KeptCodes:
    """Puts codes away, takes them out once, and forgets them; all in the caller's transaction."""

    def __init__(self, data: PersonalData) -> None:
        self._data = data

    def keep(self, tx: Transaction, token: CarrierRecord, code: str, by: str, now: datetime) -> bool:
        """Keep the code of a token; False where this very one is kept already.

        `ConflictError` where another is, which was neither released nor replaced with the whole token.
        """
        known = rows.get(tx, token.id)
        if known is not None and known.state == rows.KEPT and token.state != State.BLANK.value:
            if hmac.compare_digest(self._read(tx, token).encode(), code.encode()):
                return False
            raise ConflictError("the token's unblock code is kept already; it is replaced once it was used")
        rows.keep(tx, token.id, by, now)
        self._data.erase(tx, SUBJECT, token.id)
        self._data.put(tx, SUBJECT, token.id, {_field(token): code})
        return True

    def take_out(self, tx: Transaction, token: CarrierRecord, by: str, now: datetime) -> str:
        """Return the code of a token; here it is no more, and the token is to get another one."""
        code = self._read(tx, token)
        self._data.erase(tx, SUBJECT, token.id)
        rows.use(tx, token.id, by, now)
        return code

    def forget(self, tx: Transaction, token: CarrierRecord) -> None:
        """Forget the code of a token that does not come back."""
        self._data.erase(tx, SUBJECT, token.id)
        rows.forget(tx, token.id)

    def _read(self, tx: Transaction, token: CarrierRecord) -> str:
        code = self._data.read(tx, SUBJECT, token.id).get(_field(token))
        if code is None:
            raise UnavailableError(f"the unblock code of token {token.serial} is not there")
        return code


def _field(token: CarrierRecord) -> str:
    """The field is a part of the associated data: a code moved to another token's row is not opened."""
    return f"code/{token.serial}"
