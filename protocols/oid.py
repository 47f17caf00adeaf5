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

# Key encryption and content encryption in CMS (RFC 4055 §4, RFC 3565, RFC 5753 §7.1.4)
RSAES_OAEP: Final = "1.2.840.113549.1.1.7"
P_SPECIFIED: Final = "1.2.840.113549.1.1.9"
ECDH_SHA256_KDF: Final = "1.3.132.1.11.1"  # dhSinglePass-stdDH-sha256kdf-scheme
AES128_CBC: Final = "2.16.840.1.101.3.4.1.2"
AES128_WRAP: Final = "2.16.840.1.101.3.4.1.5"
AES192_WRAP: Final = "2.16.840.1.101.3.4.1.25"
AES256_CBC: Final = "2.16.840.1.101.3.4.1.42"
AES256_WRAP: Final = "2.16.840.1.101.3.4.1.45"

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
PKCS7_ENVELOPED_DATA: Final = "1.2.840.113549.1.7.3"
EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
CHALLENGE_PASSWORD: Final = "1.2.840.113549.1.9.7"  # noqa: S105 - the name of an attribute, not a secret
EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"
SMIME_CAPABILITIES: Final = "1.2.840.113549.1.9.15"
AA_DECRYPT_KEY_ID: Final = "1.2.840.113549.1.9.16.2.37"  # RFC 4108 §2.2.5
AA_ASYMM_DECRYPT_KEY_ID: Final = "1.2.840.113549.1.9.16.2.54"  # RFC 7030 §4.4.1.2
AA_CERTIFICATION_REQUEST_INFO_TEMPLATE: Final = "1.2.840.113549.1.9.16.2.61"  # RFC 9908 §3.4
AA_EXTENSION_REQ_TEMPLATE: Final = "1.2.840.113549.1.9.16.2.62"
CT_KEY_PACKAGE: Final = "2.16.840.1.101.2.1.2.78.5"  # id-ct-KP-aKeyPackage, RFC 5958 §2

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
SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
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
KP_CMC_CA: Final = "1.3.6.1.5.5.7.3.27"
KP_CMC_RA: Final = "1.3.6.1.5.5.7.3.28"
KP_CMC_ARCHIVE: Final = "1.3.6.1.5.5.7.3.29"

# CMC content types and controls (RFC 5272 §3.2.1, §4.2.1 and table 1, RFC 6402 §2.2, §2.8)
CCT_PKI_DATA: Final = "1.3.6.1.5.5.7.12.2"
CCT_PKI_RESPONSE: Final = "1.3.6.1.5.5.7.12.3"
CMC_STATUS_INFO: Final = "1.3.6.1.5.5.7.7.1"
CMC_IDENTIFICATION: Final = "1.3.6.1.5.5.7.7.2"
CMC_IDENTITY_PROOF: Final = "1.3.6.1.5.5.7.7.3"
CMC_DATA_RETURN: Final = "1.3.6.1.5.5.7.7.4"
CMC_TRANSACTION_ID: Final = "1.3.6.1.5.5.7.7.5"
CMC_SENDER_NONCE: Final = "1.3.6.1.5.5.7.7.6"
CMC_RECIPIENT_NONCE: Final = "1.3.6.1.5.5.7.7.7"
CMC_ADD_EXTENSIONS: Final = "1.3.6.1.5.5.7.7.8"
CMC_ENCRYPTED_POP: Final = "1.3.6.1.5.5.7.7.9"
CMC_DECRYPTED_POP: Final = "1.3.6.1.5.5.7.7.10"
CMC_LRA_POP_WITNESS: Final = "1.3.6.1.5.5.7.7.11"
CMC_GET_CERT: Final = "1.3.6.1.5.5.7.7.15"
CMC_GET_CRL: Final = "1.3.6.1.5.5.7.7.16"
CMC_REVOKE_REQUEST: Final = "1.3.6.1.5.5.7.7.17"
CMC_REG_INFO: Final = "1.3.6.1.5.5.7.7.18"
CMC_RESPONSE_INFO: Final = "1.3.6.1.5.5.7.7.19"
CMC_QUERY_PENDING: Final = "1.3.6.1.5.5.7.7.21"
CMC_POP_LINK_RANDOM: Final = "1.3.6.1.5.5.7.7.22"
CMC_POP_LINK_WITNESS: Final = "1.3.6.1.5.5.7.7.23"
CMC_CONFIRM_CERT_ACCEPTANCE: Final = "1.3.6.1.5.5.7.7.24"
CMC_STATUS_INFO_V2: Final = "1.3.6.1.5.5.7.7.25"
CMC_TRUSTED_ANCHORS: Final = "1.3.6.1.5.5.7.7.26"
CMC_AUTH_DATA: Final = "1.3.6.1.5.5.7.7.27"
CMC_BATCH_REQUESTS: Final = "1.3.6.1.5.5.7.7.28"
CMC_BATCH_RESPONSES: Final = "1.3.6.1.5.5.7.7.29"
CMC_PUBLISH_CERT: Final = "1.3.6.1.5.5.7.7.30"
CMC_MOD_CERT_TEMPLATE: Final = "1.3.6.1.5.5.7.7.31"
CMC_CONTROL_PROCESSED: Final = "1.3.6.1.5.5.7.7.32"
CMC_POP_LINK_WITNESS_V2: Final = "1.3.6.1.5.5.7.7.33"
CMC_IDENTITY_PROOF_V2: Final = "1.3.6.1.5.5.7.7.34"
CMC_RA_IDENTITY_WITNESS: Final = "1.3.6.1.5.5.7.7.35"
CMC_CHANGE_SUBJECT_NAME: Final = "1.3.6.1.5.5.7.7.36"
CMC_RESPONSE_BODY: Final = "1.3.6.1.5.5.7.7.37"

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

# CRMF controls and registration info (RFC 4211 §6, §7, RFC 9810 §5.3.19.16)
REG_CTRL_REG_TOKEN: Final = "1.3.6.1.5.5.7.5.1.1"  # noqa: S105 - the name of a control, not a secret
REG_CTRL_AUTHENTICATOR: Final = "1.3.6.1.5.5.7.5.1.2"
REG_CTRL_PKI_PUBLICATION_INFO: Final = "1.3.6.1.5.5.7.5.1.3"
REG_CTRL_PKI_ARCHIVE_OPTIONS: Final = "1.3.6.1.5.5.7.5.1.4"
REG_CTRL_OLD_CERT_ID: Final = "1.3.6.1.5.5.7.5.1.5"
REG_CTRL_PROTOCOL_ENCR_KEY: Final = "1.3.6.1.5.5.7.5.1.6"
REG_CTRL_ALT_CERT_TEMPLATE: Final = "1.3.6.1.5.5.7.5.1.7"
REG_CTRL_ALG_ID: Final = "1.3.6.1.5.5.7.5.1.11"
REG_CTRL_RSA_KEY_LEN: Final = "1.3.6.1.5.5.7.5.1.12"
REG_INFO_UTF8_PAIRS: Final = "1.3.6.1.5.5.7.5.2.1"
REG_INFO_CERT_REQ: Final = "1.3.6.1.5.5.7.5.2.2"

# CMP: what InfoTypeAndValue holds (RFC 9810 §5.3.19), and the key of a key generation authority (§4.5)
IT_CA_PROT_ENC_CERT: Final = "1.3.6.1.5.5.7.4.1"
IT_SIGN_KEY_PAIR_TYPES: Final = "1.3.6.1.5.5.7.4.2"
IT_ENC_KEY_PAIR_TYPES: Final = "1.3.6.1.5.5.7.4.3"
IT_PREFERRED_SYMM_ALG: Final = "1.3.6.1.5.5.7.4.4"
IT_CA_KEY_UPDATE_INFO: Final = "1.3.6.1.5.5.7.4.5"
IT_CURRENT_CRL: Final = "1.3.6.1.5.5.7.4.6"
IT_UNSUPPORTED_OIDS: Final = "1.3.6.1.5.5.7.4.7"
IT_KEY_PAIR_PARAM_REQ: Final = "1.3.6.1.5.5.7.4.10"
IT_KEY_PAIR_PARAM_REP: Final = "1.3.6.1.5.5.7.4.11"
IT_REV_PASSPHRASE: Final = "1.3.6.1.5.5.7.4.12"  # noqa: S105 - the name of a type, not a secret
IT_IMPLICIT_CONFIRM: Final = "1.3.6.1.5.5.7.4.13"
IT_CONFIRM_WAIT_TIME: Final = "1.3.6.1.5.5.7.4.14"
IT_ORIG_PKI_MESSAGE: Final = "1.3.6.1.5.5.7.4.15"
IT_SUPP_LANG_TAGS: Final = "1.3.6.1.5.5.7.4.16"
IT_CA_CERTS: Final = "1.3.6.1.5.5.7.4.17"
IT_ROOT_CA_KEY_UPDATE: Final = "1.3.6.1.5.5.7.4.18"
IT_CERT_REQ_TEMPLATE: Final = "1.3.6.1.5.5.7.4.19"
IT_ROOT_CA_CERT: Final = "1.3.6.1.5.5.7.4.20"
IT_CERT_PROFILE: Final = "1.3.6.1.5.5.7.4.21"
IT_CRL_STATUS_LIST: Final = "1.3.6.1.5.5.7.4.22"
IT_CRLS: Final = "1.3.6.1.5.5.7.4.23"
IT_KEM_CIPHERTEXT_INFO: Final = "1.3.6.1.5.5.7.4.24"
KP_CM_KGA: Final = "1.3.6.1.5.5.7.3.32"

# Protection of CMP messages by MAC (RFC 9810 §5.1.3, RFC 9481 §6, RFC 8018 §A.5)
PASSWORD_BASED_MAC: Final = "1.2.840.113533.7.66.13"  # noqa: S105 - the name of an algorithm, not a secret
KEM_BASED_MAC: Final = "1.2.840.113533.7.66.16"
DH_BASED_MAC: Final = "1.2.840.113533.7.66.30"
PBMAC1: Final = "1.2.840.113549.1.5.14"
PBKDF2: Final = "1.2.840.113549.1.5.12"
HMAC_SHA1: Final = "1.3.6.1.5.5.8.1.2"
HMAC_WITH_SHA1: Final = "1.2.840.113549.2.7"
HMAC_WITH_SHA256: Final = "1.2.840.113549.2.9"
HMAC_WITH_SHA384: Final = "1.2.840.113549.2.10"
HMAC_WITH_SHA512: Final = "1.2.840.113549.2.11"
