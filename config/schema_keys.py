"""The sections of `pkiserver.toml` about keys: where the own ones are, and which foreign ones are refused."""

from pathlib import Path
from typing import Literal

from pydantic import StrictInt, model_validator

from config.base import Section, option
from config.errors import Broken, RuleError
from config.units import OptionalPath, PositiveDuration


class Keys(Section):
    """Where the keys of the authorities and responders are, and how they are unlocked."""

    store: Literal["software", "pkcs11"] = option(
        "software", description="software: encrypted files in the home folder; pkcs11: a token or HSM."
    )
    passphrase_file: OptionalPath = option(
        "keys/passphrase",
        description="software: file of the passphrase, made by init; relative to the home folder.",
    )
    passphrase_env: str = option(
        "",
        description="software: environment variable of the passphrase; when named, used instead of the file.",
    )
    module: OptionalPath = option("", description="pkcs11: path of the module (a shared library).")
    token_label: str = option("", description="pkcs11: label of the token. Slot numbers are never used.")
    token_serial: str = option("", description="pkcs11: serial number of the token, where labels repeat.")
    pin_file: OptionalPath = option(
        "",
        description="pkcs11: file of the user PIN; relative to the home folder. A wrong PIN is not retried.",
    )
    pin_env: str = option(
        "", description="pkcs11: environment variable of the user PIN, instead of the file."
    )
    deadline: PositiveDuration = option(
        "10s", description="A signer that needs longer for one signature is killed and replaced."
    )
    queue: StrictInt = option(
        1024, ge=1, le=65536, description="Signatures that may wait for a signer; one more is refused."
    )

    @model_validator(mode="after")
    def _store_is_complete(self) -> "Keys":
        broken = self._software() if self.store == "software" else list(self._pkcs11())
        if broken:
            raise RuleError(*broken)
        return self

    def _software(self) -> list[Broken]:
        if self.passphrase_file is None and not self.passphrase_env:
            return [Broken("no passphrase", "software keys need passphrase_file or passphrase_env")]
        return []

    def _pkcs11(self) -> list[Broken]:
        broken = []
        if self.module is None:
            broken.append(Broken("missing", "store pkcs11 needs a module", "module"))
        if not self.token_label:
            broken.append(Broken("missing", "store pkcs11 needs a token_label", "token_label"))
        if (self.pin_file is None) == (not self.pin_env):
            broken.append(
                Broken("none or both", "store pkcs11 needs one of pin_file and pin_env", "pin_file")
            )
        return broken


class KeyPolicy(Section):
    """Which public keys are refused, beyond what is refused always."""

    blocklists: tuple[Path, ...] = option(
        [],
        description="Files of weak RSA keys in the format of Debian's openssl-blacklist; relative paths "
        "begin at the home folder.",
    )
