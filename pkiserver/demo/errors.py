"""What ends a demonstration before its end."""

from pkiserver.errors import PKIServerError


class DemoError(PKIServerError):
    """The demonstration cannot begin here, or the server answered otherwise than its story goes."""
