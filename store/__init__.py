"""SQL and the response table, and nothing else. Imports nothing of ours."""
