"""Bulk acts: one decision about very many certificates, by two people, carried out batch after batch."""
