"""The ``agscl`` command. Nothing heavy is imported before a command runs."""

from .main import main as main
