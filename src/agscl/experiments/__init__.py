"""One run as a value: presets of settings, and what it takes to run them, for every kind of run."""

from .codec import method_from_options as method_from_options
from .codec import name_of as name_of
from .kinds import PRESETS as PRESETS
from .kinds import choose as choose
from .kinds import experiment_of as experiment_of
from .kinds import preset_named as preset_named
from .kinds import run as run
from .learn import learn as learn
from .overrides import Overrides as Overrides
from .policies.experiment import PolicyExperiment as PolicyExperiment
from .policies.result import PolicyResult as PolicyResult
from .supervised.experiment import Experiment as Experiment
from .supervised.presets import Preset as Preset
from .supervised.result import Result as Result
