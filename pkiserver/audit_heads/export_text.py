"""What an export of the audit log says of itself: what its files are, and how to check them without us."""

from typing import Final

README: Final = """\
A part of the audit log, and what proves it
===========================================

audit-records.jsonl  the records, a line each: [number, time in Unix seconds, actor, action, outcome, detail,
                     SHA-256 of salt and personal data or null]
audit-links.txt      "begin", the number and the hash of the record before the first; the number of each
                     record and the SHA-256 of its line, on to the record of the head, which may be a
                     later one; "head", its number and its hash
audit-head.pem       the head, signed (CMS, RFC 5652), with the certificate of its signer and its issuer

The hash of a record is SHA-256(hash of the one before || SHA-256(its line)), the line without its end.

To check it: bash, coreutils, OpenSSL, and root.pem, the root's certificate from a place that you trust.

1. The files are whole, and the head is signed. Its signer is "Audit log" and a number:

sha256sum --quiet -c SHA256SUMS
openssl cms -verify -inform PEM -in audit-head.pem -CAfile root.pem -no_check_time \\
    -signer signer.pem -out head.json
openssl x509 -in signer.pem -noout -subject -issuer -dates

2. The links lead to the hash that the head has:

hash=$(sed -n 's/^begin [0-9]* //p' audit-links.txt)
while read -r number digest; do
    hash=$(printf %s "$hash$digest" | tr a-f A-F | basenc -d --base16 | sha256sum | cut -c1-64)
done < <(grep '^[0-9]' audit-links.txt)
grep "\\"hash\\": \\"$hash\\"" head.json

3. The records are those of the links:

while IFS= read -r line; do
    printf %s "$line" | sha256sum | cut -c1-64
done < audit-records.jsonl > digests.txt
grep '^[0-9]' audit-links.txt | head -n "$(wc -l < digests.txt)" | cut -d' ' -f2 | cmp - digests.txt \\
    && echo "the records are those of the links"
"""
