"""What a machine that only serves status needs of `pkiserver.toml`; the sections for issuing stay unread."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from config.base import Section, option
from config.schema import OCSP, Listen, Log, Settings
from config.validation import read_toml, validate


class StatusSettings(Section):
    """The sections that the status role reads."""

    listen: Listen = option({}, description="Addresses and ports; https is left alone.")
    ocsp: OCSP = option({}, description="Status answers.")
    log: Log = option({}, description="The log.")

    def with_listen(self, listen: Mapping[str, list[str]]) -> Self:
        """Return these settings with other addresses to listen on; `ConfigError` for one that is none."""
        return self.model_copy(update={"listen": self.listen.replaced(listen)})


def load_status_settings(path: Path) -> StatusSettings:
    """Return what the status role needs of a file; `ConfigError` lists everything wrong with that.

    Sections for issuing may be there, and right or wrong; what no `pkiserver.toml` has is refused.
    """
    for_issuing = Settings.model_fields.keys() - StatusSettings.model_fields.keys()
    content = {name: value for name, value in read_toml(path).items() if name not in for_issuing}
    return validate(StatusSettings, content, path.name)
