"""What goes wrong with data, each told in one line that names the file."""

from __future__ import annotations


class DataError(ValueError):
    """A file or folder is missing, truncated, tampered with, or not what it was taken for."""
