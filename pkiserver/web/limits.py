"""The bounds on what a client may take of a listener, before anything it says is believed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one listener; the defaults are those of the configuration. Times are in seconds."""

    max_body_bytes: int = 32 * 1024  # the largest body that EST takes
    max_cmp_body_bytes: int = 64 * 1024  # and CMP
    max_list_body_bytes: int = 512 * 1024  # and the import of a list, of who shows a certificate
    max_line_bytes: int = 8_190
    max_field_bytes: int = 8_190  # a certificate in a header (RFC 9440) fits
    max_headers: int = 64
    max_connections: int = 1_024  # handshakes included; more of them wait in the kernel's queue
    # IPv6: of one /64. What one client, or one office behind an address, may hold of the places.
    max_connections_per_address: int = 64
    max_requests: int = 256  # read and in work; more are told to come again
    backlog: int = 512
    handshake_s: float = 10.0
    header_s: float = 30.0  # from connection or last response to the end of the next header: idling included
    body_s: float = 20.0  # the whole body: a steady trickle does not extend it
    write_s: float = 20.0  # how long a client may leave a response unread
    linger_s: float = 2.0  # reading on after an early refusal, so that the client sees it before the close
    drain_s: float = 10.0
