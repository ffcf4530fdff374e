"""Links of the package: pages of this repository, wherever it is.

A build knows no host. Where the package is published, ``AGSCL_PLACE`` says what the pages are below (the publish
workflow sets it): then the links of the package and those of its README, which an index shows far from the sources,
lead there. Without it both are relative to the place of the sources.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAGES = {
    "Documentation": "docs/index.md",
    "Changelog": "CHANGELOG.md",
    "Results": "results/README.md",
    "Security": "SECURITY.md",
}


class Links(MetadataHookInterface):
    """Fills in ``project.urls`` and ``project.readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write the links, below the place where the sources are if it is known."""
        place = os.environ.get("AGSCL_PLACE", "").rstrip("/")
        before = f"{place}/" if place else ""
        metadata["urls"] = {name: before + page for name, page in PAGES.items()}
        metadata["readme"] = {"content-type": "text/markdown", "text": self._readme(before)}

    def _readme(self, before: str) -> str:
        """The README with its links to files below a place; an image's leads to the image, not to a page about it."""

        def link(found: re.Match[str]) -> str:
            image, words, page = found.groups()
            if not before or not (Path(self.root) / page).is_file():
                return found[0]
            return f"{image}[{words}]({before}{page}{'?raw=true' if image else ''})"

        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        return re.sub(r"(!?)\[([^\]]*)\]\(([^()\s]+)\)", link, text)
