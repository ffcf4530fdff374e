"""The report: run folders in, one self-contained HTML page out."""

from .page import page as page
