"""Methods that add a term on the outputs to the loss."""
