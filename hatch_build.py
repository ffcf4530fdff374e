"""Links of the package: pages of this repository, wherever it is.

A build knows no host. Where the package is published, ``AGSCL_PLACE`` says what the pages are below (the publish
workflow sets it); without it the links are relative to the place of the sources.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAGES = {
    "Documentation": "docs/index.md",
    "Changelog": "CHANGELOG.md",
    "Results": "results/README.md",
    "Security": "SECURITY.md",
}


class Links(MetadataHookInterface):
    """Fills in ``project.urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write the links, below the place where the sources are if it is known."""
        place = os.environ.get("AGSCL_PLACE", "").rstrip("/")
        metadata["urls"] = {name: f"{place}/{page}" if place else page for name, page in PAGES.items()}
