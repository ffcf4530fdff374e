"""One run as a value: presets of settings, and what it takes to run them."""

from .comparison import compare as compare
from .experiment import Experiment as Experiment
from .methods import method_from_options as method_from_options
from .methods import name_of as name_of
from .presets import PRESETS as PRESETS
from .presets import Preset as Preset
from .presets import preset_named as preset_named
from .result import Result as Result
from .run import run as run
