"""Files made to do harm or damaged on the way: named, refused, and nothing is left behind."""

import gzip
import io
import pickle
import struct
import sys
import tarfile
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agscl.benchmarks import from_folder, from_npz
from agscl.benchmarks.archives import unpack
from agscl.benchmarks.catalogue import CATALOGUE
from agscl.benchmarks.checksums import Checksums
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.importing import import_entry, import_set
from agscl.benchmarks.options import LoadOptions
from hostile.watch import confined

ESCAPES = ["../outside.png", "a/../../outside.png", "/outside.png", "..\\outside.png", "c:/outside.png"]


def leftovers(cache):
    return [path for path in cache.root.iterdir() if not path.name.endswith(".lock")]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_no_path_leaves_the_folder(tmp_path, name, kind):
    archive = tmp_path / f"evil.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as target:
            target.writestr(name, b"x")
    else:
        with tarfile.open(archive, "w:gz") as target:
            member = tarfile.TarInfo(name)
            member.size = 1
            target.addfile(member, io.BytesIO(b"x"))
    (tmp_path / "inner").mkdir()
    with pytest.raises(DataError, match=r"evil.* outside its folder"):
        unpack(archive, tmp_path / "inner")
    assert not list(tmp_path.rglob("outside.png"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as target:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        target.addfile(member)
    with pytest.raises(DataError, match=r"evil\.tar holds 'link'"):
        unpack(archive, tmp_path / "inner")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.zip"])
def test_noise_is_not_an_archive(tmp_path, name):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(DataError, match=rf"{name} is damaged or not an archive"):
        unpack(tmp_path / name, tmp_path / "inner")


def test_bombs_are_refused(tmp_path):
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for number in range(9):
            target.writestr(f"{number}.png", bytes(2**23))
    with pytest.raises(DataError, match=r"bomb\.zip grows beyond reason"):
        unpack(archive, tmp_path / "inner")


def test_an_npz_bomb_is_refused_before_it_is_read(cache, tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((90_000, 32, 32), np.uint8), y=np.zeros(90_000, np.int64))
    with pytest.raises(DataError, match=r"bomb\.npz grows beyond reason"):
        import_set("notmnist", tmp_path / "bomb.npz", cache)


def test_a_zip_with_a_member_without_a_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr("x.png", b"content")
    content = (tmp_path / "odd.zip").read_bytes().replace(b"x.png", b"\0.png")  # a name ends at a zero
    (tmp_path / "odd.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"odd\.zip is damaged"):
        unpack(tmp_path / "odd.zip", tmp_path / "out")


def npz_with(path, header, content):
    with zipfile.ZipFile(path, "w") as archive:
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, header)
        archive.writestr("x.npy", buffer.getvalue() + content)


def test_an_npz_that_announces_more_than_it_holds_is_refused(cache, tmp_path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 32, 32)}
    npz_with(tmp_path / "liar.npz", header, bytes(100))
    with pytest.raises(DataError, match=r"liar\.npz: x\.npy announces"):
        import_set("notmnist", tmp_path / "liar.npz", cache)


def test_an_npz_of_objects_is_refused(cache, tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object), y=np.zeros(1, np.int64))
    with pytest.raises(DataError, match=r"objects\.npz"):
        import_set("notmnist", tmp_path / "objects.npz", cache)


@pytest.mark.parametrize("name", ["classes", "alphabets", "y"])
@pytest.mark.parametrize("order", "<>")
def test_names_of_characters_that_do_not_exist_are_refused(tmp_path, name, order):
    images, numbers = np.zeros((2, 28, 28), np.uint8), np.arange(2)
    names = np.array([sys.maxunicode + 1, ord("b")], dtype=f"{order}u4").view(f"{order}U1")
    rest = {"alphabet": numbers, "character": numbers} if name == "alphabets" else {"y": numbers}
    np.savez(tmp_path / "odd.npz", x=images, **{**rest, name: names})
    with pytest.raises(DataError, match=rf"odd\.npz: '{name}' holds characters that do not exist"):
        from_npz(tmp_path / "odd.npz", 1)


def test_an_idx_file_that_announces_too_much_is_refused(originals, cache, tmp_path):
    originals.idx(tmp_path / "raw")
    huge = struct.pack(">IIII", 0x0803, 2**31, 2**10, 2**10)
    (tmp_path / "raw/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(huge))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz announces"):
        import_entry(replace(CATALOGUE["mnist"], checksums={}), tmp_path / "raw", cache)


def test_another_set_in_mnists_format_is_refused_by_its_checksum(originals, cache, tmp_path):
    originals.idx(tmp_path / "raw")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is truncated or not the original"):
        import_set("mnist", tmp_path / "raw", cache)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.floats(0, 0.999))
@pytest.mark.parametrize("kind", ["npz", "idx", "svhn", "zip", "tar.gz", "tar"])
def test_a_truncated_file_is_refused_wherever_it_ends(originals, cache, tmp_path_factory, kind, kept):
    folder = tmp_path_factory.mktemp("truncated")
    name, source, victim = write_kind(originals, folder, kind)
    content = victim.read_bytes()
    size = len(content.rstrip(b"\0")) if kind == "tar" else len(content)  # a tar may end in any number of zeros
    victim.write_bytes(content[: int(kept * size)])
    with pytest.raises(DataError, match=victim.name.partition(".")[0]):
        import_entry(replace(CATALOGUE[name], checksums={}), source, cache)
    assert leftovers(cache) == []


def write_kind(originals, folder, kind):
    """A set in some format: its name, what to import, and the file to damage."""
    if kind == "npz":
        images = originals.random_images(20, (32, 32, 3))
        np.savez(folder / "set.npz", x=images, y=np.arange(20) % 10)
        return "svhn", folder / "set.npz", folder / "set.npz"
    if kind == "idx":
        originals.idx(folder / "raw")
        return "mnist", folder / "raw", folder / "raw/t10k-images-idx3-ubyte.gz"
    if kind == "svhn":
        originals.svhn(folder / "svhn")
        return "svhn", folder / "svhn", folder / "svhn/train_32x32.mat"
    tree = originals.image_folders(folder / "tree", each=2)
    archive = originals.pack(tree, folder / f"signs.{kind}")
    return "gtsrb", archive, archive


@pytest.mark.parametrize("digest", ["", "abc", "g" * 32, "A" * 64])
def test_checksums_of_no_known_kind_are_refused(digest):
    with pytest.raises(ValueError, match="a checksum is"):
        Checksums({}, frozenset({digest}))


@pytest.mark.parametrize("name", ["cifar10", "cub200", "omniglot", "mnist"])
def test_a_folder_of_something_else_is_refused(cache, tmp_path, name):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text.txt").write_text("hello")
    with pytest.raises(DataError, match="notes holds nothing that can be read"):
        import_set(name, tmp_path / "notes", cache)


def test_a_path_that_does_not_exist_is_refused(cache, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        import_set("mnist", tmp_path / "nowhere", cache)


def test_images_of_another_shape_and_other_classes_are_refused(originals, cache, tmp_path):
    images, labels = originals.random_images(20, (28, 28)), np.arange(20) % 10
    np.savez(tmp_path / "grey.npz", x=images, y=labels)
    with pytest.raises(DataError, match=r"grey\.npz is not CIFAR-10"):
        import_set("cifar10", tmp_path / "grey.npz", cache)
    np.savez(tmp_path / "clothes.npz", x=images, y=labels, classes=np.array(CATALOGUE["fashion-mnist"].classes))
    with pytest.raises(DataError, match="its classes are T-shirt/top"):
        import_set("mnist", tmp_path / "clothes.npz", cache)
    np.savez(tmp_path / "many.npz", x=images, y=np.arange(20))
    with pytest.raises(DataError, match="20 of 10 classes"):
        import_set("mnist", tmp_path / "many.npz", cache)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((4, 28, 28), np.uint8)},
        {"x": np.zeros((4, 28, 28), np.float32), "y": np.zeros(4, np.int64)},
        {"x": np.zeros((4, 28, 28), np.uint8), "y": np.zeros(4, np.float32)},
        {"x": np.zeros((4, 28, 28), np.uint8), "y": np.zeros(3, np.int64)},
        {"x": np.zeros((4, 28, 28, 2), np.uint8), "y": np.zeros(4, np.int64)},
        {"x_train": np.zeros((4, 28, 28), np.uint8), "y_train": np.zeros(4, np.int64)},
    ],
    ids=["no labels", "float images", "float labels", "too few labels", "two channels", "no test"],
)
def test_arrays_that_are_not_labelled_images_are_refused(cache, tmp_path, arrays):
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(DataError, match=r"odd\.npz"):
        import_set("mnist", tmp_path / "odd.npz", cache)


def tar_that_announces(kind, size):
    """A tar whose first header says that so many bytes of a name or of attributes follow."""
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(2**12)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE])
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_tar_that_announces_a_terabyte_takes_no_memory(tmp_path, kind, ending):
    content = tar_that_announces(kind, 2**40)
    archive = tmp_path / f"liar.{ending}"
    archive.write_bytes(content if ending == "tar" else gzip.compress(content))
    with confined(tmp_path), pytest.raises(DataError, match="liar"):
        unpack(archive, tmp_path / "inner")


def test_a_tar_whose_end_is_a_bomb_takes_no_memory(tmp_path):
    with gzip.open(tmp_path / "long.tar.gz", "wb") as file:
        for _ in range(400):
            file.write(bytes(2**20))
    with confined(tmp_path):
        unpack(tmp_path / "long.tar.gz", tmp_path / "inner")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_zips_packed_in_ways_that_take_memory_are_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "odd.zip", "w", method) as archive:
        archive.writestr("x.npy", b"x")
    (tmp_path / "odd.npz").write_bytes((tmp_path / "odd.zip").read_bytes())
    with pytest.raises(DataError, match="neither stored nor deflated"):
        unpack(tmp_path / "odd.zip", tmp_path / "inner")
    with pytest.raises(DataError, match="neither stored nor deflated"):
        from_npz(tmp_path / "odd.npz", 1)


@pytest.mark.parametrize("name", ["a" * 300, "a/b", "", "."])
def test_names_that_are_no_names_of_files_are_refused_by_the_archive(tmp_path, name):
    with tarfile.open(tmp_path / "odd.tar", "w") as archive:
        for member in ("a", name):
            archive.addfile(tarfile.TarInfo(member))
    with confined(tmp_path), pytest.raises(DataError, match=r"odd\.tar"):
        unpack(tmp_path / "odd.tar", tmp_path / "inner")


@pytest.mark.parametrize("descr", ["|S0", "|V0", "<U0", "|O", "<M8[D]", [("a", "<i8")]])
def test_arrays_of_odd_types_are_refused_before_they_are_made(tmp_path, descr):
    npz_with(tmp_path / "odd.npz", {"descr": descr, "fortran_order": False, "shape": (10**12,)}, b"")
    with confined(tmp_path), pytest.raises(DataError, match=r"odd\.npz"):
        from_npz(tmp_path / "odd.npz", 1)


@pytest.mark.parametrize(
    "header", ["{[]: 1}", "(" * 150 + ")" * 150, "-" * 9000 + "1", "1 if", "'", "{'descr': '|u1'}"]
)
def test_headers_that_make_the_parser_give_up_are_refused(tmp_path, header):
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        text = header.encode() + b"\n"
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    with pytest.raises(DataError, match=r"odd\.npz: x\.npy does not begin as an \.npy file"):
        from_npz(tmp_path / "odd.npz", 1)


def test_a_label_of_a_trillion_makes_no_names_of_classes(tmp_path):
    np.savez(tmp_path / "odd.npz", x=np.zeros((20, 4, 4), np.uint8), y=np.array([0, 10**12] * 10))
    with confined(tmp_path):
        assert sorted(from_npz(tmp_path / "odd.npz", 1).record["task_classes"][0]) == ["0", "1000000000000"]


def test_an_idx_file_of_a_kilobyte_that_announces_a_gigabyte_takes_no_memory(originals, cache, tmp_path):
    originals.idx(tmp_path / "raw")
    huge = struct.pack(">IIII", 0x0803, 2**10, 2**10, 2**10)
    (tmp_path / "raw/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(huge))
    with confined(tmp_path), pytest.raises(DataError, match="announces"):
        import_entry(replace(CATALOGUE["mnist"], checksums={}), tmp_path / "raw", cache)


def matlab_element(kind, content):
    return struct.pack("<II", kind, len(content)) + content


@pytest.mark.parametrize("bomb", [False, True], ids=["dimensions", "compression"])
def test_a_matlab_file_that_announces_too_much_takes_no_memory(cache, tmp_path, bomb):
    parts = (6, bytes(8)), (5, struct.pack("<4i", 2**30, 32, 3, 2**20)), (1, b"X" + bytes(7)), (2, bytes(8))
    matrix = matlab_element(14, b"".join(matlab_element(*part) for part in parts))
    content = matlab_element(15, zlib.compress(bytes(2**29) if bomb else matrix))
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / name).write_bytes(b"MATLAB".ljust(124) + b"\x00\x01IM" + content)
    with confined(tmp_path), pytest.raises(DataError, match=r"train_32x32\.mat is truncated or damaged"):
        import_entry(replace(CATALOGUE["svhn"], checksums={}), tmp_path, cache)


LAUGHS = b"]q\x00" + b"".join(b"](" + b"h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(60))
PICKLES = {
    "memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "bytes": b"\x80\x05}\x8c\x06labels\x96" + struct.pack("<Q", 2**40) + b"s.",
    # the frame ends within a text: read by frames, what follows announces a gigabyte
    "frame": b"\x80\x04\x95"
    + struct.pack("<Q", 4)
    + b"}\x8c\x06labelsC\x8e"
    + struct.pack("<Q", 2**30)
    + bytes(134)
    + b"s.",
    "array": b"\x80\x02}X\x06\x00\x00\x00labelscnumpy\nndarray\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85Rs.",
    "laughs": b"\x80\x02}X\x06\x00\x00\x00labels" + LAUGHS + b"s.",
    "code": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "codec": pickle.dumps({"labels": [1.5]}),
    "not a dictionary": pickle.dumps([1]),
}


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_that_passed_its_checksum_still_gives_numbers_or_nothing(originals, cache, tmp_path, kind):
    folder, _, _ = originals.cifar(tmp_path, hundred=False)
    (folder / "data_batch_3").write_bytes(PICKLES[kind])
    known = {path.name: originals.md5(path) for path in folder.iterdir()}
    with confined(tmp_path), pytest.raises(DataError, match="data_batch_3"):
        import_entry(replace(CATALOGUE["cifar10"], checksums=known), folder, cache)


def png_of(width, height):
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(9)))]
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_a_png_whose_last_chunk_announces_a_gigabyte_takes_no_memory(originals, tmp_path):
    tree = originals.image_folders(tmp_path / "tree")
    content = png_of(4, 4)
    data = content.index(b"IDAT")
    packed = zlib.compress(bytes(4 * 13)) + bytes(100)
    (tree / "train/ant/odd.png").write_bytes(content[: data - 4] + struct.pack(">I", 2**30) + b"IDAT" + packed)
    with confined(tmp_path):
        from_folder(tree, 1, options=LoadOptions(data_root=tmp_path / "data"), size=8)


@pytest.mark.parametrize(
    "content",
    [png_of(8000, 9000), png_of(2**31 - 1, 2**31 - 1), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
    ids=["large", "huge", "a program"],
)
def test_images_that_announce_too_much_or_are_programs_are_refused(originals, tmp_path, content):
    tree = originals.image_folders(tmp_path / "tree")
    (tree / "train/ant/evil.png").write_bytes(content)
    with confined(tmp_path), pytest.raises(DataError, match=r"evil\.png"):
        from_folder(tree, 1, options=LoadOptions(data_root=tmp_path / "data"))
