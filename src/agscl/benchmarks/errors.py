"""The error of damaged, missing or foreign data: one line that names the file."""

from __future__ import annotations


class DataError(ValueError):
    """A file or folder is missing, truncated, tampered with, or not what it was taken for."""
