"""How an operator deletes a key that is needed no more: by the tools of the store, never by this program.

No command here can take a key away, whatever goes wrong or whoever gives it: whoever deletes one has seen it
named, and has the right to the token or the folder.
"""

import shlex
from pathlib import Path

from config.pkcs11_uri import PKCS11URI
from pkiserver.signer.settings import SignerSettings
from pkiserver.signer.software import SUFFIX


def removal_command(settings: SignerSettings, label: str) -> str:
    """Return a command of the shell that deletes a key; `p11tool` asks for the PIN, and before it does so."""
    if settings.store == "software":
        return shlex.join(["rm", "--", str(Path(settings.directory or "") / f"{label}{SUFFIX}")])
    uri = PKCS11URI(token=settings.token_label, serial=settings.token_serial, object=label)
    return shlex.join(["p11tool", f"--provider={settings.module}", "--login", "--delete", str(uri)])
