"""Runs of reinforcement learning: presets, experiments, results."""
