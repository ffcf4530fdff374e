"""Sweeps: a search for every method's values under the same rule, and the engines that do the runs."""
