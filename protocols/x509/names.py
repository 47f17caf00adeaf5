"""The names of certificates: subjects (RFC 4514 text, DER) and subject alternative names.

One door to `distinguished_names`, which owns subjects, and `general_names`, which owns alternative names.
"""

from protocols.x509.distinguished_names import make_name, names_equal, parse_subject, read_name, subject_text
from protocols.x509.general_names import parse_san, read_general_names, san_text, sans_equal

__all__ = [
    "make_name",
    "names_equal",
    "parse_san",
    "parse_subject",
    "read_general_names",
    "read_name",
    "san_text",
    "sans_equal",
    "subject_text",
]
