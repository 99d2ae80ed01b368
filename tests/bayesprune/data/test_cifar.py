"""CIFAR-10 in its forms: nothing is unpickled or unpacked before it is verified."""

import hashlib
import io
import pickle
import tarfile
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bayesprune.data import TensorSplit, load
from bayesprune.data.build import assemble
from bayesprune.data.cifar import CIFAR10, CifarSource
from bayesprune.data.places import find_places
from bayesprune.data.torchvision_guard import import_torchvision
from bayesprune.errors import DataError

NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
CLASSES = ("cat", "dog")
Array = npt.NDArray[Any]


def batches() -> dict[str, tuple[Array, Array]]:
    """Six files of four pictures: [4, 3072] bytes, red before green before blue, and labels."""
    draw = np.random.default_rng(0)
    return {name: (draw.integers(0, 256, (4, 3072), dtype=np.uint8), np.arange(4, dtype=np.uint8)) for name in NAMES}


def archive_of(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode=mode) as tar:  # type: ignore[call-overload]  # the mode is one of its literals
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stored.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """torchvision's files with four pictures each, and their checksums in torchvision's table."""
    files = {
        name: pickle.dumps({"data": pixels, "labels": labels.tolist()}) for name, (pixels, labels) in batches().items()
    }
    files["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")})
    table = import_torchvision().datasets.CIFAR10
    monkeypatch.setattr(table, "train_list", [[name, md5(files[name])] for name in NAMES[:5]])
    monkeypatch.setattr(table, "test_list", [[NAMES[5], md5(files[NAMES[5]])]])
    monkeypatch.setattr(table, "meta", {**table.meta, "md5": md5(files["batches.meta"])})
    return {f"cifar-10-batches-py/{name}": content for name, content in files.items()}


@pytest.fixture
def archive(pickled: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The archive of those files, and its checksum in torchvision's table."""
    content = archive_of(pickled)
    monkeypatch.setattr(import_torchvision().datasets.CIFAR10, "tgz_md5", md5(content))
    return content


def check_content(root: Path | None = None, source: CifarSource = CIFAR10) -> None:
    found = source.find(find_places(root))
    assert found is not None
    raw = source.read(found)
    assert (raw.name, raw.classes) == ("cifar10", 10)
    train = np.concatenate([batches()[name][0] for name in NAMES[:5]])
    np.testing.assert_array_equal(raw.train.inputs.numpy().reshape(20, -1), train)
    assert raw.test is not None
    np.testing.assert_array_equal(raw.test.inputs.numpy().reshape(4, -1), batches()["test_batch"][0])
    assert raw.train.labels.tolist() == [0, 1, 2, 3] * 5
    assert raw.train.inputs.shape == (20, 3, 32, 32)


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def binary_files() -> dict[str, bytes]:
    return {
        f"cifar-10-batches-bin/{name}.bin": np.concatenate([labels[:, None], pixels], 1).tobytes()
        for name, (pixels, labels) in batches().items()
    }


def test_the_binary_version(tmp_path: Path) -> None:
    write(tmp_path, binary_files())
    check_content(tmp_path, CifarSource(images_per_file=4))


def test_a_truncated_binary_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, binary_files())
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    source = CifarSource(images_per_file=4)
    with pytest.raises(DataError, match=r"data_batch_3.bin has 12,291 bytes, 4 images have 12,292"):
        source.read(path.parent)


def test_verified_batches_are_read(tmp_path: Path, pickled: dict[str, bytes]) -> None:
    write(tmp_path, pickled)
    check_content(tmp_path)
    data = assemble(CIFAR10.read(tmp_path / "cifar-10-batches-py"), validation=4, seed=0)
    assert data.split_sizes == {"train": 16, "validation": 4, "test": 4}
    assert len(data.normalisation.mean) == 3


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_a_changed_batch_is_not_opened(tmp_path: Path, pickled: dict[str, bytes], name: str) -> None:
    write(tmp_path, {**pickled, f"cifar-10-batches-py/{name}": pickle.dumps(Trap(tmp_path / "sprung"))})
    with pytest.raises(DataError, match=f"{name} is missing or is not the file of CIFAR-10"):
        load("cifar10", root=tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_an_archive_is_verified_and_unpacked_once_into_the_cache(tmp_path: Path, archive: bytes, cache: Path) -> None:
    write(tmp_path, {"data/cifar-10-python.tar.gz": archive})
    check_content(tmp_path / "data")
    unpacked = cache / "cifar10" / "cifar-10-batches-py" / "data_batch_1"
    before = unpacked.stat().st_mtime_ns
    check_content(tmp_path / "data")
    assert unpacked.stat().st_mtime_ns == before
    assert [path.name for path in cache.iterdir()] == ["cifar10"]


def test_another_archive_is_not_opened(tmp_path: Path, archive: bytes, cache: Path) -> None:
    write(tmp_path, {"cifar-10-python.tar.gz": archive + b"\0"})
    with pytest.raises(DataError, match="it is not opened"):
        load("cifar10", root=tmp_path)
    assert not cache.exists()


def test_a_download_is_verified_unpacked_and_read(
    tmp_path: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer(io.BytesIO):
        headers = Message()

    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: Answer(archive))
    CIFAR10.fetch(tmp_path, None)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["cifar-10-batches-py"]
    check_content(tmp_path)


@pytest.fixture
def jpegs() -> dict[str, bytes]:
    """train/CLASS/*.jpg and test/CLASS/*.jpg of one grey each, and a file beside them."""
    files = {"README.md": b"read me"}
    for split, count in (("train", 6), ("test", 2)):
        for shade, name in enumerate(CLASSES):
            for number in range(count):
                stored = io.BytesIO()
                Image.new("RGB", (32, 32), (40 + 100 * shade,) * 3).save(stored, "JPEG")
                files[f"{split}/{name}/{number:04}.jpg"] = stored.getvalue()
    return files


def test_the_jpeg_copy_says_what_it_is_and_is_unpacked_once(
    tmp_path: Path, jpegs: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"data/cifar10-jpeg.tar.xz": archive_of(jpegs, "w:xz")})
    monkeypatch.setenv("BAYESPRUNE_DATA", str(tmp_path / "data"))
    told = list[str]()
    data = load("cifar10", validation=2, progress=lambda name, done, total: told.append(name))
    assert data.name == "cifar10 (JPEG copy)"
    assert data.split_sizes == {"train": 10, "validation": 2, "test": 4}
    assert isinstance(data.test, TensorSplit)
    shades = data.normalisation.undo(data.test.inputs)[:, 0, 0, 0] * 255
    np.testing.assert_allclose(shades.numpy(), [40, 40, 140, 140], atol=2)
    assert len(told) == 16
    [unpacked] = cache.iterdir()
    assert sorted(path.name for path in unpacked.iterdir()) == ["test", "train"]
    assert load("cifar10", validation=2).fingerprint == data.fingerprint
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10-jpeg.tar.xz"]


def test_the_jpeg_copy_comes_last(tmp_path: Path, jpegs: dict[str, bytes], pickled: dict[str, bytes]) -> None:
    write(tmp_path, {"cifar10-jpeg.tar.xz": archive_of(jpegs, "w:xz"), **pickled})
    check_content(tmp_path)


def link(name: str) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)

    return add


def escape(tar: tarfile.TarFile) -> None:
    for name in ("../outside.jpg", "/tmp/outside.jpg", "train/../../outside.jpg"):
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())


@pytest.mark.parametrize(
    ("harm", "says"),
    [(link("train/cat/1.jpg"), "a link or a device"), (escape, "none of the files it should")],
)
def test_a_hostile_archive_is_refused_and_leaves_nothing(
    tmp_path: Path, cache: Path, harm: Callable[[tarfile.TarFile], None], says: str
) -> None:
    path = tmp_path / "data" / "cifar10-jpeg.tar.xz"
    path.parent.mkdir()
    with tarfile.open(path, "w:xz") as tar:
        harm(tar)
    with pytest.raises(DataError, match=says):
        load("cifar10", root=path.parent)
    assert list(cache.iterdir()) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "data"]


def test_a_truncated_archive_is_refused_and_leaves_nothing(
    tmp_path: Path, cache: Path, jpegs: dict[str, bytes]
) -> None:
    write(tmp_path, {"data/cifar10-jpeg.tar.xz": archive_of(jpegs, "w:xz")[:-200]})
    with pytest.raises(DataError, match="is damaged"):
        load("cifar10", root=tmp_path / "data")
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path: Path, jpegs: dict[str, bytes], cache: Path) -> None:
    write(tmp_path, {"data/cifar10-jpeg.tar.xz": archive_of(jpegs, "w:xz")})
    cache.parent.write_text("a file is no folder")
    with pytest.raises(DataError, match="cannot unpack .* XDG_CACHE_HOME"):
        load("cifar10", root=tmp_path / "data")


@pytest.mark.long
def test_the_real_jpeg_copy(data_root: Path) -> None:
    if not (data_root / "cifar10-jpeg.tar.xz").is_file():
        pytest.skip(f"{data_root} holds no cifar10-jpeg.tar.xz")
    data = load("cifar10", root=data_root)
    assert data.name == "cifar10 (JPEG copy)"
    assert data.split_sizes == {"train": 45_000, "validation": 5_000, "test": 10_000}
    assert data.input_shape == (3, 32, 32)
    assert data.normalisation.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=3e-3)  # the constants of CIFAR-10
    assert data.normalisation.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=5e-3)
