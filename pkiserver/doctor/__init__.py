"""Looks a home over, server running or not, and says what is wrong and what to do about it."""
