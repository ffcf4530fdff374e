"""One run as a value: presets of settings, and what it takes to run them."""

from .codec import method_from_options as method_from_options
from .codec import name_of as name_of
from .supervised.comparison import compare as compare
from .supervised.experiment import Experiment as Experiment
from .supervised.presets import PRESETS as PRESETS
from .supervised.presets import Preset as Preset
from .supervised.presets import preset_named as preset_named
from .supervised.result import Result as Result
from .supervised.run import run as run
