"""Object identifiers by the names their standards give them; one table for the whole server.

Dotted text, as `protocols.asn1.der` reads and writes it. Grouped by use, in the order of the arcs.
"""

from typing import Final

# Hash algorithms (RFC 5754 §2, RFC 3279 §2.1, FIPS 202)
SHA1: Final = "1.3.14.3.2.26"
SHA256: Final = "2.16.840.1.101.3.4.2.1"
SHA384: Final = "2.16.840.1.101.3.4.2.2"
SHA512: Final = "2.16.840.1.101.3.4.2.3"
SHA224: Final = "2.16.840.1.101.3.4.2.4"
SHA3_256: Final = "2.16.840.1.101.3.4.2.8"
SHA3_384: Final = "2.16.840.1.101.3.4.2.9"
SHA3_512: Final = "2.16.840.1.101.3.4.2.10"

# Keys (RFC 3279 §2.3, RFC 4055, RFC 5480, RFC 8410)
RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
ED25519: Final = "1.3.101.112"
ED448: Final = "1.3.101.113"

# Named curves (RFC 5480 §2.1.1.1, RFC 5639)
SECP256R1: Final = "1.2.840.10045.3.1.7"
SECP384R1: Final = "1.3.132.0.34"
SECP521R1: Final = "1.3.132.0.35"

# Signature algorithms (RFC 3279 §2.2, RFC 4055, RFC 5758); Ed25519 and Ed448 use the identifier of their key
SHA1_WITH_RSA: Final = "1.2.840.113549.1.1.5"
MGF1: Final = "1.2.840.113549.1.1.8"
RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
SHA256_WITH_RSA: Final = "1.2.840.113549.1.1.11"
SHA384_WITH_RSA: Final = "1.2.840.113549.1.1.12"
SHA512_WITH_RSA: Final = "1.2.840.113549.1.1.13"
ECDSA_WITH_SHA1: Final = "1.2.840.10045.4.1"
ECDSA_WITH_SHA256: Final = "1.2.840.10045.4.3.2"
ECDSA_WITH_SHA384: Final = "1.2.840.10045.4.3.3"
ECDSA_WITH_SHA512: Final = "1.2.840.10045.4.3.4"

# PKCS #9 attributes (RFC 2985) and CMS content types (RFC 5652)
PKCS7_DATA: Final = "1.2.840.113549.1.7.1"
PKCS7_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
CHALLENGE_PASSWORD: Final = "1.2.840.113549.1.9.7"  # noqa: S105 - the name of an attribute, not a secret
EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"

# Attribute types of names (RFC 5280 §4.1.2.4, X.520; organizationIdentifier: EN 319 412-1 §5.1.4)
COMMON_NAME: Final = "2.5.4.3"
SURNAME: Final = "2.5.4.4"
SERIAL_NUMBER: Final = "2.5.4.5"
COUNTRY_NAME: Final = "2.5.4.6"
LOCALITY_NAME: Final = "2.5.4.7"
STATE_OR_PROVINCE_NAME: Final = "2.5.4.8"
ORGANIZATION_NAME: Final = "2.5.4.10"
ORGANIZATIONAL_UNIT_NAME: Final = "2.5.4.11"
TITLE: Final = "2.5.4.12"
GIVEN_NAME: Final = "2.5.4.42"
ORGANIZATION_IDENTIFIER: Final = "2.5.4.97"
USER_ID: Final = "0.9.2342.19200300.100.1.1"
DOMAIN_COMPONENT: Final = "0.9.2342.19200300.100.1.25"

# Certificate and CRL extensions (RFC 5280 §4.2, §5.2, §5.3)
KEY_USAGE: Final = "2.5.29.15"
SUBJECT_ALT_NAME: Final = "2.5.29.17"
BASIC_CONSTRAINTS: Final = "2.5.29.19"
CRL_NUMBER: Final = "2.5.29.20"
CRL_REASON: Final = "2.5.29.21"
INVALIDITY_DATE: Final = "2.5.29.24"
DELTA_CRL_INDICATOR: Final = "2.5.29.27"
ISSUING_DISTRIBUTION_POINT: Final = "2.5.29.28"
CERTIFICATE_ISSUER: Final = "2.5.29.29"
CRL_DISTRIBUTION_POINTS: Final = "2.5.29.31"
CERTIFICATE_POLICIES: Final = "2.5.29.32"
AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
EXT_KEY_USAGE: Final = "2.5.29.37"
FRESHEST_CRL: Final = "2.5.29.46"
EXPIRED_CERTS_ON_CRL: Final = "2.5.29.60"  # X.509; RFC 5280 does not know it
AUTHORITY_INFO_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
QC_STATEMENTS: Final = "1.3.6.1.5.5.7.1.3"
VALIDITY_ASSURED_SHORT_TERM: Final = "0.4.0.194121.2.1"  # EN 319 412-1 §5.2

# Policy qualifiers and access methods (RFC 5280 §4.2.1.4, §4.2.2.1)
CPS: Final = "1.3.6.1.5.5.7.2.1"
AD_OCSP: Final = "1.3.6.1.5.5.7.48.1"
AD_CA_ISSUERS: Final = "1.3.6.1.5.5.7.48.2"

# Extended key usages (RFC 5280 §4.2.1.12, RFC 6402 §2.10)
KP_SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
KP_CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
KP_EMAIL_PROTECTION: Final = "1.3.6.1.5.5.7.3.4"
KP_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"
KP_CMC_RA: Final = "1.3.6.1.5.5.7.3.28"

# OCSP (RFC 6960 §4.2.1, §4.2.2.2.1, §4.4)
OCSP_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
OCSP_NONCE: Final = "1.3.6.1.5.5.7.48.1.2"
OCSP_CRL: Final = "1.3.6.1.5.5.7.48.1.3"
OCSP_RESPONSE: Final = "1.3.6.1.5.5.7.48.1.4"
OCSP_NOCHECK: Final = "1.3.6.1.5.5.7.48.1.5"
OCSP_ARCHIVE_CUTOFF: Final = "1.3.6.1.5.5.7.48.1.6"
OCSP_SERVICE_LOCATOR: Final = "1.3.6.1.5.5.7.48.1.7"
OCSP_PREF_SIG_ALGS: Final = "1.3.6.1.5.5.7.48.1.8"
OCSP_EXTENDED_REVOKE: Final = "1.3.6.1.5.5.7.48.1.9"

# Statements of qualified certificates (RFC 3739 §3.2.6, EN 319 412-5 §4)
QCS_PKIX_QC_SYNTAX_V2: Final = "1.3.6.1.5.5.7.11.2"
QCS_QC_COMPLIANCE: Final = "0.4.0.1862.1.1"
QCS_QC_LIMIT_VALUE: Final = "0.4.0.1862.1.2"
QCS_QC_RETENTION_PERIOD: Final = "0.4.0.1862.1.3"
QCS_QC_SSCD: Final = "0.4.0.1862.1.4"
QCS_QC_PDS: Final = "0.4.0.1862.1.5"
QCS_QC_TYPE: Final = "0.4.0.1862.1.6"
QCT_ESIGN: Final = "0.4.0.1862.1.6.1"
QCT_ESEAL: Final = "0.4.0.1862.1.6.2"
QCT_WEB: Final = "0.4.0.1862.1.6.3"
QCS_QC_CC_LEGISLATION: Final = "0.4.0.1862.1.7"

# Semantics identifiers of serialNumber and organizationIdentifier (EN 319 412-1 §5.1)
SEMANTICS_NATURAL: Final = "0.4.0.194121.1.1"
SEMANTICS_LEGAL: Final = "0.4.0.194121.1.2"
SEMANTICS_EIDAS_NATURAL: Final = "0.4.0.194121.1.3"
SEMANTICS_EIDAS_LEGAL: Final = "0.4.0.194121.1.4"
