"""Changing a model by its nodes: leaving some out, adding some, copies to try things on."""
