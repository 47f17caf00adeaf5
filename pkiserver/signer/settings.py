"""What the signer process must know: where keys and secrets are, never a secret itself."""

import json
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Self

from pkiserver.signer.errors import SignerSettingsError

MAX_SETTINGS_BYTES: Final = 65_536  # paths and names; far above any real configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerSettings:
    """Settings of one key store. Exactly one place of the secret is named; paths are text.

    `pin_prompt`: a person types the PIN when the signer is started.

    `SignerSettingsError` where something is missing or contradictory.
    """

    store: Literal["software", "pkcs11"] = "software"
    directory: str | None = None
    passphrase_file: str | None = None
    passphrase_env: str | None = None
    module: str | None = None
    token_label: str | None = None
    token_serial: str | None = None
    pin_file: str | None = None
    pin_env: str | None = None
    pin_prompt: bool = False

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise SignerSettingsError("signer settings: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        software = [
            *([] if self.directory else ["the software store needs a directory"]),
            *_exactly_one("passphrase", self.passphrase_file, self.passphrase_env),
        ]
        token = [
            *([] if self.module else ["the pkcs11 store needs a module"]),
            *(
                []
                if self.token_label or self.token_serial
                else ["the pkcs11 store needs a token_label or token_serial"]
            ),
            *_exactly_one("pin", self.pin_file, self.pin_env, prompted=self.pin_prompt),
        ]
        problems = {"software": software, "pkcs11": token}
        return problems.get(self.store, ["store is neither software nor pkcs11"])

    @property
    def token_name(self) -> str:
        """The token's label or serial, or `software`: how readings and messages name the key store."""
        return "software" if self.store == "software" else self.token_label or self.token_serial or ""

    @property
    def secret_env(self) -> str | None:
        """The name of the variable that holds the secret, None where a file does."""
        return self.passphrase_env if self.store == "software" else self.pin_env

    def encode(self) -> bytes:
        """Return the settings as JSON, the first frame that a worker reads."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)}).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Return the settings in a worker's first frame; `SignerSettingsError` if they are not that."""
        if len(encoded) > MAX_SETTINGS_BYTES:
            raise SignerSettingsError("signer settings: too large")
        try:
            values = json.loads(encoded)
        except (ValueError, RecursionError) as error:
            raise SignerSettingsError("signer settings: not JSON") from error
        return cls(**_checked(values))


def _exactly_one(secret: str, file: str | None, variable: str | None, *, prompted: bool = False) -> list[str]:
    if bool(file) + bool(variable) + prompted != 1:
        return [f"give either {secret}_file or {secret}_env"]
    return []


def _checked(values: object) -> dict[str, Any]:
    """Return keyword arguments of the right names and types."""
    if not isinstance(values, dict) or not values.keys() <= {f.name for f in fields(SignerSettings)}:
        raise SignerSettingsError("signer settings: unknown names")
    for name, value in values.items():
        if not isinstance(value, bool if name == "pin_prompt" else str | None):
            raise SignerSettingsError("signer settings: a value is of the wrong type")
    return values
