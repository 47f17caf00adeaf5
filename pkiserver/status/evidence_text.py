"""The README of a folder of evidence: what each file is, and how to check it without this program."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

_FILES: Final[Mapping[str, str]] = {
    "status.json": "the answer: what the status was at the time asked for",
    "events.json": "all status events of the certificate, in order",
    "audit-records.jsonl": "the audit record of each event: `text` is what its digest is over",
    "audit-links.txt": "the digests of all audit records from the first of these to the head",
    "certificate.pem": "the certificate",
    "issuer.pem": "the certificate of its issuer",
    "chain.pem": "the issuer and those above it, up to the root",
    "ocsp-response.der": "an OCSP response that was in force",
    "crl.der": "the CRL that was in force",
    "delta-crl.der": "the delta CRL that was in force",
    "shard-crl.der": "the CRL of the certificate's shard that was in force",
    "shard-delta-crl.der": "the delta CRL of the certificate's shard that was in force",
    "README.txt": "this text",
}
_BATCH: Final = "the events of a bulk act, of which the audit record so numbered has the digest (`events`)"
_CRLS: Final = ("crl.der", "delta-crl.der", "shard-crl.der", "shard-delta-crl.der")


def readme(answer: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the text for a folder with these files."""
    given = [*names, "README.txt"]
    listed = "".join(f"  {name:<22} {_FILES.get(name, _BATCH)}\n" for name in given)
    checks = [_SUMS, _AUDIT]
    checks += [_CRL.format(name=name, serial=answer["serial"].upper()) for name in _CRLS if name in given]
    if "ocsp-response.der" in given:
        checks.append(_OCSP.format(seconds=_unix(answer["time"])))
    numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(checks, 1))
    return _TEXT.format(listed=listed, checks=numbered, **answer)


def _unix(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


_TEXT: Final = """Status of certificate {serial} of {ca} at {time}: {status}

OCSP: {ocsp}

Files
{listed}  SHA256SUMS             the digests of all files but itself

Times are UTC in whole seconds. An event counts from its own second on; of several within one second the last
one stands. OCSP and CRLs tell of an event a moment after it: what they say of the seconds around it may be
what was true just before. `status` is what was true.

Checks, in this folder
{checks}
"""

_SUMS: Final = """The files are as they were written:

     sha256sum --check SHA256SUMS
"""

_AUDIT: Final = """The events stand in the audit log, and the answer follows from them:

     pkiserver audit check-evidence .

   With a head of the audit log that was kept elsewhere (`pkiserver audit head`), made after the last event,
   have the evidence made with --head FILE and check it with the same option: nobody can have written the
   records after that head was taken away. Without the program: the hash of an audit record is
   SHA-256(hash of the record before || SHA-256(text)), beginning with the hash of the line `begin`; the last
   one must be that of the line `head`:

     python3 - <<'END'
     import hashlib, json
     begin, *links, head = [line.split() for line in open("audit-links.txt")]
     digests, value = dict(links), bytes.fromhex(begin[2])
     for _, digest in links:
         value = hashlib.sha256(value + bytes.fromhex(digest)).digest()
     assert value.hex() == head[2], "the links do not lead to the head"
     for record in map(json.loads, open("audit-records.jsonl")):
         text = record["text"]
         assert hashlib.sha256(text.encode()).hexdigest() == digests[str(record["sequence"])], "altered"
         print(text)
     END

   The record of each event names the event before it (`previous`). That none came after the last is shown by
   the whole log only (`pkiserver audit verify`), and by CRL and OCSP.
"""

_CRL: Final = """{name} is signed by the issuer, and has the serial number or not:

     openssl crl -inform DER -in {name} -CAfile chain.pem -noout -lastupdate -nextupdate
     openssl crl -inform DER -in {name} -noout -text | grep -A 4 "Serial Number: {serial}"
"""

_OCSP: Final = """ocsp-response.der is signed by a responder that the issuer appointed, and says what
   status.json tells of it. Where its time is over openssl warns of that, and of nothing else:

     openssl ocsp -respin ocsp-response.der -issuer issuer.pem -cert certificate.pem \\
         -CAfile chain.pem -no_nonce -attime {seconds}
"""
