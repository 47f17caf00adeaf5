"""The Certificate Management Protocol (RFC 9810, RFC 9483) on the registration side."""
