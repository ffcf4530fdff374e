"""Methods that give each task a sub-network of its own."""
