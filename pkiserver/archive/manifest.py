"""Manifests: what an archive unit and a package of units hold, as JSON; no personal data stands in them.

A unit is a folder of files with `manifest.json`, and `manifest.p7s`, the detached CMS signature over it (RFC
5652 §5.2). A package is a folder of units with `package.json` and `package.p7s`, which name every unit.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pkiserver.clock import utc_text
from pkiserver.errors import RefusedError

MANIFEST: Final = "manifest.json"
PACKAGE: Final = "package.json"
SIGNATURES: Final[Mapping[str, str]] = {MANIFEST: "manifest.p7s", PACKAGE: "package.p7s"}
MAX_UNITS: Final = 1000  # of a package: its hand-over is one transaction
MAX_FILES: Final = 200  # of a unit
MAX_MANIFEST_OCTETS: Final = 1 << 20
UNIT_NAME: Final = re.compile(r"(?:application|case)-[1-9][0-9]{0,17}", re.ASCII)
FILE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,60}\.(?:pdf|json|cer)", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a signed manifest says: SHA-256 in hexadecimal by the names of files or, in a package, units."""

    kind: str  # unit or package
    number: int
    made_at: str
    sha256: Mapping[str, str]


def unit_manifest(unit: int, subject: str, made_at: datetime, files: Mapping[str, bytes]) -> bytes:
    """Return the manifest of a unit over its files."""
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return _encoded({"kind": "unit", "number": unit, "of": subject, "made_at": utc_text(made_at)}, listed)


def package_manifest(package: int, made_at: datetime, units: Mapping[str, bytes]) -> bytes:
    """Return the manifest of a package over the manifests of its units, by the names of their folders."""
    listed = {name: hashlib.sha256(manifest).hexdigest() for name, manifest in units.items()}
    return _encoded({"kind": "package", "number": package, "made_at": utc_text(made_at)}, listed)


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest; `RefusedError` for anything that this program did not write."""
    if len(content) > MAX_MANIFEST_OCTETS:
        raise RefusedError("it is too long for a manifest")
    try:
        values: dict[str, Any] = json.loads(content)
        listed = {str(name): str(digest) for name, digest in values["sha256"].items()}
        manifest = Manifest(str(values["kind"]), int(values["number"]), str(values["made_at"]), listed)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise RefusedError("it is no manifest") from error
    names, most = (FILE_NAME, MAX_FILES) if manifest.kind == "unit" else (UNIT_NAME, MAX_UNITS)
    if manifest.kind not in ("unit", "package") or not 0 < len(listed) <= most:
        raise RefusedError("it is no manifest of a unit or a package")
    for name, digest in listed.items():
        if names.fullmatch(name) is None or _SHA256.fullmatch(digest) is None:
            raise RefusedError("it names what cannot be in it")
    return manifest


def _encoded(about: Mapping[str, object], sha256: Mapping[str, str]) -> bytes:
    return json.dumps({**about, "sha256": sha256}, indent=1, sort_keys=True).encode("ascii") + b"\n"
