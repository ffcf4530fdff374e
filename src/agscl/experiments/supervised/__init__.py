"""Runs of data sets: presets, experiments, results."""
