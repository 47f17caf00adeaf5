"""Makes a new home, or finishes one that was begun."""

import secrets

from config.hierarchy import INFRASTRUCTURE
from config.reference import reference
from pkiserver.clock import Clock
from pkiserver.core import open_core
from pkiserver.errors import ConflictError
from pkiserver.home import PRIVATE_FILE_MODE, Home, HomeLock, write_file
from pkiserver.progress import Progress

PASSPHRASE_OCTETS = 32


async def initialise(home: Home, public_url: str | None, *, offline_root: bool, progress: Progress) -> None:
    """Write the configuration if there is none, then make every key and certificate that is missing.

    `ConflictError` when `public_url` differs from that of a configuration that is there already.
    """
    home.make()
    with HomeLock(home):
        if home.configuration.exists():
            _refuse_other_url(home, public_url)
        else:
            text = reference(public_url) if public_url is not None else reference()
            write_file(home.configuration, text.encode(), PRIVATE_FILE_MODE)
        _make_passphrase(home)
        async with open_core(home, Clock()) as core:
            await core.issuance.recover()
            await core.hierarchy.set_up(progress, offline_root=offline_root)
            await core.server_certificates.maintain(progress)
            if core.authorities.has(INFRASTRUCTURE):
                progress("first CRLs")
                await core.crl_publisher.work()
            await core.crl_publisher.restore_files()


def _refuse_other_url(home: Home, public_url: str | None) -> None:
    if public_url is not None and f'"{public_url}"' not in home.configuration.read_text():
        raise ConflictError(f"{home.configuration} is there already: change public_url in it instead")


def _make_passphrase(home: Home) -> None:
    """Make the passphrase of the software keys, for a configuration that looks for it there."""
    path = home.keys / "passphrase"
    if not path.exists() and not any(home.keys.iterdir()):
        write_file(path, secrets.token_urlsafe(PASSPHRASE_OCTETS).encode() + b"\n", PRIVATE_FILE_MODE)
