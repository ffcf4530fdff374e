"""The run folder: one run's files, written atomically and read back."""

from .folder import RunFolder as RunFolder
from .folder import run_folders as run_folders
