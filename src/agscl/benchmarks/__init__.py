"""Task sequences: the paper's benchmarks, digits that need no download, and a user's own data."""

from agscl.extras import MissingExtraError as MissingExtraError

from .cache import Cache as Cache
from .custom import from_csv as from_csv
from .custom import from_datasets as from_datasets
from .custom import from_folder as from_folder
from .custom import from_npz as from_npz
from .digits import digits as digits
from .digits import permuted_digits as permuted_digits
from .digits import rotated_digits as rotated_digits
from .errors import DataError as DataError
from .images import ImageExamples as ImageExamples
from .images import Pipeline as Pipeline
from .importing import download_set as download_set
from .importing import import_set as import_set
from .options import LoadOptions as LoadOptions
from .own.keep import import_own as import_own
from .sequences import cifar10_100 as cifar10_100
from .sequences import cifar100 as cifar100
from .sequences import cub200 as cub200
from .sequences import eight as eight
from .sequences import omniglot as omniglot
from .sequences import permuted_mnist as permuted_mnist
from .sequences import split_mnist as split_mnist
from .task import JSON as JSON
from .task import Batch as Batch
from .task import Examples as Examples
from .task import Task as Task
from .task import TaskSequence as TaskSequence
