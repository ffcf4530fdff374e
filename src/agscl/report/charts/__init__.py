"""A small SVG library: the page's drawings."""
