"""How many cases: a few in the tests of every day, ten thousand in ``make fuzz``."""

from hypothesis import settings

THOROUGH = settings.get_current_profile_name() == "thorough"


def cases(few: int) -> settings:
    """Settings for a test that runs in a moment with ``few`` cases."""
    return settings() if THOROUGH else settings(max_examples=few)
