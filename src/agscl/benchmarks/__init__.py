"""Data in, tasks out: the paper's benchmarks, those every newcomer tries first, and a user's own data."""

from agscl.benchmarks.cache import Cache as Cache
from agscl.benchmarks.digits import digits as digits
from agscl.benchmarks.digits import permuted_digits as permuted_digits
from agscl.benchmarks.digits import rotated_digits as rotated_digits
from agscl.benchmarks.errors import DataError as DataError
from agscl.benchmarks.errors import MissingExtraError as MissingExtraError
from agscl.benchmarks.images import ImageExamples as ImageExamples
from agscl.benchmarks.images import Pipeline as Pipeline
from agscl.benchmarks.importing import download_set as download_set
from agscl.benchmarks.importing import import_set as import_set
from agscl.benchmarks.options import LoadOptions as LoadOptions
from agscl.benchmarks.own import from_datasets as from_datasets
from agscl.benchmarks.own import from_folder as from_folder
from agscl.benchmarks.own import from_npz as from_npz
from agscl.benchmarks.sequences import cifar10_100 as cifar10_100
from agscl.benchmarks.sequences import cifar100 as cifar100
from agscl.benchmarks.sequences import cub200 as cub200
from agscl.benchmarks.sequences import eight as eight
from agscl.benchmarks.sequences import omniglot as omniglot
from agscl.benchmarks.sequences import permuted_mnist as permuted_mnist
from agscl.benchmarks.sequences import split_mnist as split_mnist
from agscl.benchmarks.task import JSON as JSON
from agscl.benchmarks.task import Batch as Batch
from agscl.benchmarks.task import Examples as Examples
from agscl.benchmarks.task import Task as Task
from agscl.benchmarks.task import TaskSequence as TaskSequence
