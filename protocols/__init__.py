"""Wire formats without I/O: bytes to frozen dataclasses and back. Imports nothing of ours."""
