"""From a model to its nodes: operations followed one by one, and what belongs to whom."""
