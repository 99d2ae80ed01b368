"""The folder of one run and the record of a finished one.

    run.json               settings, result, groups, layers, data, versions; written last: it means finished
    history.jsonl          one line an epoch
    network.safetensors    the compact network's state
    masks.safetensors      methods that mask weights: which of them may be other than 0
    posterior.safetensors  Bayesian methods: inclusion probabilities, decided gates and their trace
    checkpoint.safetensors the state of an unfinished run

Numbers that are not finite are written as null, since JSON has no number for them.
"""

import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from bayesprune.errors import SettingError, StoreError
from bayesprune.store import history
from bayesprune.store.atomic import (
    TEMPORARY_PATTERN,
    move_files,
    read_json,
    temporary_in,
    write_bytes,
    write_error,
    write_json,
)
from bayesprune.store.checks import Fault, validate
from bayesprune.store.identity import run_id
from bayesprune.store.json_values import plain_json
from bayesprune.store.lock import locked
from bayesprune.store.schema import RUN_DOCUMENT, SCHEMA, check_posterior, upgraded

if TYPE_CHECKING:
    from torch import Tensor

_LIBRARIES = ("torch", "numpy", "safetensors", "pyro-ppl")


@dataclass(frozen=True)
class RunRecord:
    """All that a finished run says about itself; the fields are the keys of run.json.

    Attributes:
        settings: flat JSON of the run's settings, of which `id` is the hash.
        result: method, seed, metrics, cost and training cost.
        groups: name, size and kept original indices of every group, in the order of the gates.
        layers: what every layer costs now and what it cost dense.
        input_shape: of one sample.
        classes: number of classes; for other tasks of the outputs.
        task: what was learnt: its name, outputs, and what its likelihood learnt.
        data: name and split sizes.
        versions: of Python, bayesprune, torch and other libraries.
        history: one record an epoch, oldest first.
        whole: layers that lose no channel whatever the method does, each with the reason; empty in older folders.
        checksums: of the other files, by file name; empty for a record that was not read from disk, or that was
            written before there were any.
        folder: where the run lies; None for a record that was not read from disk.
        tensors: the posterior of a record that was not read from disk.
    """

    settings: dict[str, Any]
    result: dict[str, Any]
    groups: list[dict[str, Any]]
    layers: list[dict[str, Any]]
    input_shape: tuple[int, ...]
    classes: int
    task: dict[str, Any]
    data: dict[str, Any]
    versions: dict[str, str]
    history: list[dict[str, Any]] = field(default_factory=list)
    whole: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict, compare=False)
    folder: Path | None = None
    tensors: "Mapping[str, Tensor] | None" = field(default=None, repr=False, compare=False)

    @classmethod
    def read(cls, path: str | Path) -> "RunRecord":
        """The record of the finished run in a folder (or of the run.json that is named).

        Raises:
            StoreError: there is no finished run, or a file is damaged; the message names file and key.
        """
        place = Path(path)
        return RunFolder(place.parent if place.name == "run.json" else place).read_record()

    def write(
        self,
        path: str | Path,
        network: Mapping[str, "Tensor"],
        posterior: Mapping[str, "Tensor"] | None = None,
        masks: Mapping[str, "Tensor"] | None = None,
    ) -> None:
        """Write a finished run into a folder, as `RunFolder.write_record` does."""
        RunFolder(Path(path)).write_record(self, network, posterior, masks)

    @property
    def id(self) -> str:
        """The name of the run: the hash of its settings and the version that ran them."""
        return run_id(self.settings, version=self.versions.get("bayesprune"))

    @property
    def gates(self) -> int:
        """The number of gates: the sizes of all groups together."""
        return sum(group["size"] for group in self.groups)

    @cached_property
    def posterior(self) -> "dict[str, Tensor] | None":
        """The tensors of the posterior, read from disk at the first use; None where the method has none.

        Raises:
            StoreError: the file is damaged or does not fit the groups.
        """
        if self.tensors is not None:
            return dict(self.tensors)
        if self.folder is None:
            return None
        file = RunFolder(self.folder).posterior_file
        tensors = self._stored(file)
        if tensors is not None:
            check_posterior(tensors, self.gates, file)
        return tensors

    @cached_property
    def masks(self) -> "dict[str, Tensor]":
        """The tensors of masks.safetensors, read at the first use; none where no weight was masked.

        Raises:
            StoreError: the file is damaged.
        """
        return {} if self.folder is None else self._stored(RunFolder(self.folder).masks_file) or {}

    def _stored(self, file: Path) -> "dict[str, Tensor] | None":
        """The tensors of a file of this run; a file without a checksum is what a kill left of an older run."""
        checksum = self.checksums.get(file.name)
        if not file.exists() or (self.checksums and checksum is None):
            return None
        from bayesprune.store.tensors import load_tensors

        return load_tensors(file, checksum)

    def document(self) -> dict[str, Any]:
        """The content of run.json as plain JSON.

        Raises:
            ValueError: a field holds something that JSON cannot.
        """
        fields = {
            name: getattr(self, name)
            for name in (
                "settings",
                "result",
                "groups",
                "layers",
                "input_shape",
                "classes",
                "task",
                "data",
                "versions",
                "whole",
            )
        }
        plain: dict[str, Any] = plain_json(fields, non_finite_as_null=True)
        return {"schema": SCHEMA, "id": self.id, **plain}


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; making one touches nothing on disk.

    Attributes:
        path: the folder, which need not exist yet.
    """

    path: Path

    @property
    def run_file(self) -> Path:
        """run.json, written last."""
        return self.path / "run.json"

    @property
    def history_file(self) -> Path:
        """history.jsonl."""
        return self.path / "history.jsonl"

    @property
    def network_file(self) -> Path:
        """network.safetensors."""
        return self.path / "network.safetensors"

    @property
    def posterior_file(self) -> Path:
        """posterior.safetensors, of Bayesian methods only."""
        return self.path / "posterior.safetensors"

    @property
    def masks_file(self) -> Path:
        """masks.safetensors, of methods that mask weights only."""
        return self.path / "masks.safetensors"

    @property
    def checkpoint_file(self) -> Path:
        """checkpoint.safetensors, of unfinished runs only."""
        return self.path / "checkpoint.safetensors"

    @property
    def finished(self) -> bool:
        """Whether run.json is there, complete and valid."""
        try:
            self._read_document()
        except StoreError:
            return False
        return True

    def read_history(self) -> list[dict[str, Any]]:
        """The records so far, also of an unfinished run; errors as in `history.read_entries`."""
        return history.read_entries(self.history_file)

    def load_network(self) -> "dict[str, Tensor]":
        """The state of the compact network.

        Raises:
            StoreError: the run is not finished, or a file is damaged or belongs to another run.
        """
        from bayesprune.store.tensors import load_tensors

        checksums = self._read_document().get("checksums", {})
        return load_tensors(self.network_file, checksums.get(self.network_file.name))

    def locked(self, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
        """Keep other processes and threads from writing into this folder; as `lock.locked`."""
        return locked(self.path, waiting)

    def write_record(
        self,
        record: RunRecord,
        network: Mapping[str, "Tensor"],
        posterior: Mapping[str, "Tensor"] | None = None,
        masks: Mapping[str, "Tensor"] | None = None,
    ) -> None:
        """Write a finished run and remove the checkpoint.

        All files are on the disk before the first takes its place, run.json last: a failure leaves an older run whole.

        Args:
            record: what run.json says; a history that is not empty replaces history.jsonl.
            network: state of the compact network.
            posterior: tensors of the posterior; None for a method that has none.
            masks: bool, by parameter name; None or empty where no weight is masked.

        Raises:
            StoreError: a field is missing or wrong (nothing is written then), or a file cannot be written.
        """
        from bayesprune.store.tensors import save_tensors

        document = self._checked_document(record)
        if posterior is not None:
            check_posterior(posterior, record.gates, self.posterior_file)
        tensors = {"network_file": network, "posterior_file": posterior, "masks_file": masks}
        entries = history.entries_as_bytes(self.history_file, record.history)
        with self.locked():
            new = RunFolder(temporary_in(self.path, "new"))
            checksums = {}
            try:
                for name, values in tensors.items():
                    if values:
                        file: Path = getattr(new, name)
                        checksums[file.name] = save_tensors(file, values)
                if entries:
                    checksums[new.history_file.name] = history.checksum_of(entries)
                    write_bytes(new.history_file, entries)
                write_json(new.run_file, document | {"checksums": checksums})
                move_files(new.path, self.path, last=self.run_file.name)
            finally:
                rmtree(new.path, ignore_errors=True)
            old = [file for file in (self.posterior_file, self.masks_file) if file.name not in checksums]
            _remove(self.checkpoint_file, *old)

    def clean(self) -> None:
        """Remove what a kill left behind of files that were being written; the caller holds the lock."""
        for path in self.path.glob(TEMPORARY_PATTERN):
            if path.is_dir():
                rmtree(path, ignore_errors=True)
            else:
                _remove(path)

    def read_record(self) -> RunRecord:
        """The record of the finished run.

        Raises:
            StoreError: the run is not finished, or a file is damaged; the message names file and key.
        """
        document = self._read_document()
        fields = {name: value for name, value in document.items() if name in RunRecord.__dataclass_fields__}
        fields["input_shape"] = tuple(document["input_shape"])
        checksum = document.get("checksums", {}).get(self.history_file.name)
        entries = history.read_entries(self.history_file, checksum)
        return RunRecord(**fields | {"history": entries, "folder": self.path, "tensors": None})

    def _checked_document(self, record: RunRecord) -> dict[str, Any]:
        try:
            document = record.document()
        except (ValueError, RecursionError) as error:
            raise StoreError(f"cannot write {self.run_file}: {error}; convert it first") from error
        validate(document, RUN_DOCUMENT, self.run_file)
        return self._upgraded(document)

    def _upgraded(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document as today's schema has it."""
        try:
            return upgraded(document)
        except Fault as fault:
            raise StoreError(f"{self.run_file}: {fault}; the file was changed, run it again") from fault

    def _read_document(self) -> dict[str, Any]:
        if not self.run_file.exists():
            raise StoreError(self._absence())
        document: dict[str, Any] = read_json(self.run_file)
        validate(document, RUN_DOCUMENT, self.run_file)
        document = self._upgraded(document)
        try:
            expected = run_id(document["settings"], version=document["versions"]["bayesprune"])
        except SettingError as error:
            raise StoreError(f"{self.run_file}: {error}; the file was changed, run it again") from error
        if document["id"] != expected:
            raise StoreError(
                f"{self.run_file}: key 'id' is {document['id']!r}, but its settings and version make "
                f"{expected!r}; the file was changed, run it again"
            )
        return document

    def _absence(self) -> str:
        if self.checkpoint_file.exists():
            return f"the run in {self.path} is not finished: the same command goes on with it"
        return f"{self.path} holds no run: {self.run_file.name} is not there; check the path"


def _remove(*files: Path) -> None:
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(file, error) from error


def library_versions() -> dict[str, str]:
    """The versions of Python, bayesprune and the libraries that decide a run's numbers, where installed."""
    from bayesprune import __version__

    versions = {"python": platform.python_version(), "bayesprune": __version__}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
