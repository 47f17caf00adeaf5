"""What CMP refuses in words of its own (RFC 9810 §5.2.3); everything else is refused as elsewhere."""

from pkiserver.errors import PKIServerError
from protocols.errors import ErrorKind


class UnsupportedVersionError(PKIServerError):
    """The message is of another version than 2 or 3 (RFC 9810 §7)."""

    kind = ErrorKind.UNSUPPORTED_VERSION


class BadTimeError(PKIServerError):
    """messageTime is missing or too far from the time here."""

    kind = ErrorKind.BAD_TIME


class BadSenderNonceError(PKIServerError):
    """senderNonce is missing or too short."""

    kind = ErrorKind.BAD_SENDER_NONCE


class BadRecipientNonceError(PKIServerError):
    """recipNonce is not the senderNonce of the message before, or stands where there is none."""

    kind = ErrorKind.BAD_RECIPIENT_NONCE


class BadMessageCheckError(PKIServerError):
    """Protection is missing, wrong, or does not fit the sender that the header names."""

    kind = ErrorKind.BAD_MESSAGE_CHECK


class WrongIntegrityError(PKIServerError):
    """The message is protected by a MAC where a signature is asked for, or the other way round."""

    kind = ErrorKind.WRONG_INTEGRITY


class SignerNotTrustedError(PKIServerError):
    """The certificate of the one who signed is of no authority that is trusted."""

    kind = ErrorKind.SIGNER_NOT_TRUSTED


class TransactionIDInUseError(PKIServerError):
    """The transactionID is that of another transaction of this sender."""

    kind = ErrorKind.TRANSACTION_ID_IN_USE


class BadDataFormatError(PKIServerError):
    """A field that is required is missing, or of another form."""

    kind = ErrorKind.MALFORMED


class BadCertIDError(PKIServerError):
    """No certificate that the sender may speak of is identified."""

    kind = ErrorKind.BAD_CERT_ID


class BadCertTemplateError(PKIServerError):
    """What the template asks for is not what the sender may have."""

    kind = ErrorKind.BAD_CERT_TEMPLATE


class CertRevokedError(PKIServerError):
    """The certificate is revoked already."""

    kind = ErrorKind.CERT_REVOKED


class CertConfirmedError(PKIServerError):
    """The certificate was confirmed or refused before."""

    kind = ErrorKind.CERT_CONFIRMED


class IncompleteError(PKIServerError):
    """The message says too little to find out what it is about."""

    kind = ErrorKind.INCOMPLETE
