"""Examples in docstrings run where the package that they show is installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("avalanche") else ["src/agscl/integrations/avalanche.py"]
