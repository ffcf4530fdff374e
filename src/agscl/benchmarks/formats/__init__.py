"""One reader per original format: each looks at a place and streams what it finds, or finds nothing."""
