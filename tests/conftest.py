"""Hypothesis without time limits: on a shared machine a slow example is no error."""

from hypothesis import HealthCheck, settings

settings.register_profile("agscl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("agscl")
