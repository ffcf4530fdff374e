"""The catalogue of data sets: name, shape, classes, format, checksums and origin of each.

Checksums are those that torchvision and the sets' own pages publish.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agscl.benchmarks.formats.cifar import read_cifar10, read_cifar100
from agscl.benchmarks.formats.cub import read_cub
from agscl.benchmarks.formats.features import read_facescrub, read_notmnist
from agscl.benchmarks.formats.gtsrb import read_gtsrb
from agscl.benchmarks.formats.idx import DIGITS, read_idx
from agscl.benchmarks.formats.omniglot import read_omniglot
from agscl.benchmarks.formats.source import Reader, Shape
from agscl.benchmarks.formats.svhn import read_svhn

from .errors import DataError


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
        name: Its name here.
        title: Its name in the literature.
        count: Number of images in the complete set, or in the versions of it that are in use.
        num_classes: Number of classes in the complete set.
        shape: Shape ``(C, H, W)`` of stored images; for ``resizable`` sets the default.
        reader: Reads the original format.
        checksums: md5 of the original files, by name.
        hint: Folder in which torchvision keeps it.
        torchvision: Name of torchvision's class and the keyword arguments of each part; empty: it has none.
        origin: Where to get it by hand.
        other_shapes: Further shapes in which the set is passed around.
        classes: Official names of the classes, where they are few.
        resizable: Whether the size of stored images may be chosen at the import.
    """

    name: str
    title: str
    count: tuple[int, ...]
    num_classes: int
    shape: Shape
    reader: Reader
    origin: str
    checksums: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    torchvision: tuple[str, tuple[Mapping[str, object], ...]] | None = None
    other_shapes: tuple[Shape, ...] = ()
    classes: tuple[str, ...] = ()
    resizable: bool = False


_TRAIN_AND_TEST: tuple[Mapping[str, object], ...] = ({"train": True}, {"train": False})
_SPLITS: tuple[Mapping[str, object], ...] = ({"split": "train"}, {"split": "test"})

CATALOGUE: Mapping[str, DataSet] = {
    entry.name: entry
    for entry in (
        DataSet(
            name="cifar10",
            title="CIFAR-10",
            count=(60_000,),
            num_classes=10,
            shape=(3, 32, 32),
            reader=read_cifar10,
            origin="https://www.cs.toronto.edu/~kriz/cifar.html",
            checksums={
                "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                "test_batch": "40351d587109b95175f43aff81a1287e",
                "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
            },
            hint="cifar-10-batches-py",
            torchvision=("CIFAR10", _TRAIN_AND_TEST),
            classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        ),
        DataSet(
            name="cifar100",
            title="CIFAR-100, fine labels",
            count=(60_000,),
            num_classes=100,
            shape=(3, 32, 32),
            reader=read_cifar100,
            origin="https://www.cs.toronto.edu/~kriz/cifar.html",
            checksums={
                "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
                "train": "16019d7e3df5f24257cddd939b257f8d",
                "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
                "meta": "7973b15100ade9c7d40fb424638fde48",
            },
            hint="cifar-100-python",
            torchvision=("CIFAR100", _TRAIN_AND_TEST),
        ),
        DataSet(
            name="mnist",
            title="MNIST",
            count=(70_000,),
            num_classes=10,
            shape=(1, 28, 28),
            reader=read_idx,
            origin="https://ossci-datasets.s3.amazonaws.com/mnist/",
            checksums={
                "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
                "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
                "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
            },
            hint="MNIST",
            torchvision=("MNIST", _TRAIN_AND_TEST),
            classes=DIGITS,
        ),
        DataSet(
            name="fashion-mnist",
            title="Fashion-MNIST",
            count=(70_000,),
            num_classes=10,
            shape=(1, 28, 28),
            reader=read_idx,
            origin="https://github.com/zalandoresearch/fashion-mnist",
            checksums={
                "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
                "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
                "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
            },
            hint="FashionMNIST",
            torchvision=("FashionMNIST", _TRAIN_AND_TEST),
            classes=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
        ),
        DataSet(
            name="svhn",
            title="SVHN, cropped digits",
            count=(99_289,),
            num_classes=10,
            shape=(3, 32, 32),
            reader=read_svhn,
            origin="http://ufldl.stanford.edu/housenumbers/",
            checksums={
                "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
                "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
            },
            torchvision=("SVHN", _SPLITS),
            classes=DIGITS,
        ),
        DataSet(
            name="gtsrb",
            title="GTSRB, German traffic signs",
            count=(39_270, 51_839),
            num_classes=43,
            shape=(3, 32, 32),
            reader=read_gtsrb,
            origin="https://benchmark.ini.rub.de/gtsrb_dataset.html",
            checksums={
                "GTSRB-Training_fixed.zip": "513f3c79a4c5141765e10e952eaa2478",
                "GTSRB_Final_Test_Images.zip": "c7e4e6327067d32654124b0fe9e82185",
                "GTSRB_Final_Test_GT.zip": "fe31e9c9270bbcd7b84b7f21a9d9d9e5",
            },
            hint="gtsrb",
            torchvision=("GTSRB", _SPLITS),
        ),
        DataSet(
            name="facescrub",
            title="FaceScrub, 100 people, as in HAT",
            count=(),
            num_classes=100,
            shape=(3, 32, 32),
            reader=read_facescrub,
            origin="https://github.com/nkundiushuti/facescrub_subset (facescrub_100.zip)",
        ),
        DataSet(
            name="notmnist",
            title="notMNIST, letters A to J",
            count=(18_724, 547_838),
            num_classes=10,
            shape=(1, 28, 28),
            reader=read_notmnist,
            origin="https://github.com/nkundiushuti/notmnist_convert (notmnist.zip), or notMNIST_small.tar.gz",
            other_shapes=((1, 32, 32),),
            classes=tuple("ABCDEFGHIJ"),
        ),
        DataSet(
            name="omniglot",
            title="Omniglot, 50 alphabets",
            count=(32_460,),
            num_classes=1623,
            shape=(1, 28, 28),
            reader=read_omniglot,
            origin="https://github.com/brendenlake/omniglot (python/images_*.zip)",
            checksums={
                "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
                "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
            },
            hint="omniglot-py",
            torchvision=("Omniglot", ({"background": True}, {"background": False})),
        ),
        DataSet(
            name="cub200",
            title="CUB-200-2011, birds",
            count=(11_788,),
            num_classes=200,
            shape=(3, 256, 256),
            reader=read_cub,
            origin="https://data.caltech.edu/records/65de6-vp158 (CUB_200_2011.tgz)",
            checksums={"CUB_200_2011.tgz": "97eceeb196236b17998738112f37df78"},
            resizable=True,
        ),
    )
}


def data_set(name: str, own: Sequence[str] = ()) -> DataSet:
    """The catalogue's entry of this name.

    Args:
        name: The name.
        own: Names of sets that are not in the catalogue, for the message.

    Raises:
        DataError: If there is none; lists those that there are.

    Example:
        >>> data_set("cifar100").num_classes
        100
    """
    if name not in CATALOGUE:
        known = [*CATALOGUE, *own]
        alike = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {alike[0]}?" if alike else ""
        raise DataError(f"no data set is called {name!r}; there are {', '.join(known)}{hint}")
    return CATALOGUE[name]
