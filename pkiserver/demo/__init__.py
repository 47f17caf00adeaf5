"""`pkiserver demo`: one citizen's and one government body's story on a running server, step by step."""
