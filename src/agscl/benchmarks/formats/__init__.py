"""One reader per original format: each streams the images of a source, or gives `None` for another format."""
