"""One module a protocol, over HTTP."""
