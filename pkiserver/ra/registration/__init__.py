"""Registration: who applies for a certificate, who decides on it, and what became of the application.

The rules are pure: numbers, contacts and form, the tables of states and of permissions. The services beside
them hold each to its rules in one transaction of the store, with the audit record of it.
"""
