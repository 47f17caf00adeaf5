"""The sections of `pkiserver.toml` about keys: where the own ones are, and which foreign ones are refused."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import PlainValidator, StrictInt, model_validator

from config.base import Section, option
from config.errors import Broken, RuleError
from config.pkcs11_uri import PKCS11URI, parse_token_uri
from config.units import OptionalPath, PositiveDuration

TokenURI = Annotated[str, PlainValidator(parse_token_uri)]


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
    uri: TokenURI = option(
        "",
        description="pkcs11: the token as an RFC 7512 URI: token (and serial, where labels repeat), "
        "module-path, and pin-source: file:PATH or env:NAME; without it the PIN is asked for where "
        "the server is started. Paths are relative to the home folder.",
    )
    workers: StrictInt = option(
        1,
        ge=1,
        le=64,
        description="Signer processes, each with a session of its own; as many as the HSM serves at a time.",
    )
    deadline: PositiveDuration = option(
        "10s", description="A signer that needs longer for one signature is killed and replaced."
    )
    queue: StrictInt = option(
        1024, ge=1, le=65536, description="Signatures that may wait for a signer; one more is refused."
    )

    @model_validator(mode="after")
    def _store_is_complete(self) -> "Keys":
        broken = self._software() if self.store == "software" else self._pkcs11()
        if broken:
            raise RuleError(*broken)
        return self

    def _software(self) -> list[Broken]:
        if self.passphrase_file is None and not self.passphrase_env:
            return [Broken("no passphrase", "software keys need passphrase_file or passphrase_env")]
        return []

    def _pkcs11(self) -> list[Broken]:
        return [] if self.uri else [Broken("missing", "store pkcs11 needs the uri of its token", "uri")]

    @property
    def token(self) -> PKCS11URI:
        """The token, where the store is pkcs11."""
        return PKCS11URI.parse(self.uri)


class KeyPolicy(Section):
    """Which public keys are refused, beyond what is refused always."""

    blocklists: tuple[Path, ...] = option(
        [],
        description="Files of weak RSA keys in the format of Debian's openssl-blacklist; relative paths "
        "begin at the home folder.",
    )
