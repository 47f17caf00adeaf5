"""CMP (RFC 9810) and CRMF (RFC 4211): messages read, built and protected, without I/O."""
