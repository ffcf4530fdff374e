"""Bridges to other libraries' loops: each hooks a guard into one library, which must be installed for it."""
