"""Studies in TOML: grids, sizes that match, and clear words for what cannot be."""

from pathlib import Path

import pytest

from bayesprune.errors import BayespruneError, SettingError, UnknownNameError
from bayesprune.experiments.commands.progress import labels
from bayesprune.experiments.jobs import Job
from bayesprune.experiments.study import Study, read_study, seeds_from
from bayesprune.run.settings import RunSettings


def read(folder: Path, text: str) -> Study:
    path = folder / "study.toml"
    path.write_text(text, "utf-8")
    return read_study(path)


def test_seeds() -> None:
    assert seeds_from(3) == [0, 1, 2] and seeds_from(2, first=5) == [5, 6]


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "3", None, [1, 2]])
def test_seeds_that_cannot_be(count: int) -> None:
    with pytest.raises(SettingError, match="seeds must be an integer >= 1"):
        seeds_from(count)


def test_a_small_study(tmp_path: Path) -> None:
    study = read(tmp_path, 'methods = ["dense", "parsimonious"]\nseeds = 2\nepochs = 5\n')
    assert study.title == "study" and study.out is None
    assert [(job.settings.method, job.settings.seed) for job in study.jobs] == [
        ("dense", 0), ("dense", 1), ("parsimonious", 0), ("parsimonious", 1)
    ]  # fmt: skip
    assert {job.settings.epochs for job in study.jobs} == {5}
    assert all(job.match is None for job in study.jobs)
    assert study.jobs[0].settings.network == "lenet300"


def test_what_is_learnt_and_from_which_outputs(tmp_path: Path) -> None:
    text = 'methods = ["dense"]\nseeds = 1\ntask = ["regression", "counts"]\noutput = "out"\naux = { aux1 = 0.3 }\n'
    jobs = read(tmp_path, text).jobs
    assert [job.settings.task for job in jobs] == ["regression", "counts"]
    assert {(job.settings.output, job.settings.aux["aux1"]) for job in jobs} == {("out", 0.3)}
    assert labels(jobs) == ["dense seed 0 task=regression", "dense seed 0 task=counts"]
    assert labels([jobs[0], Job(RunSettings("dense"))])[0].startswith("dense seed 0 ")


def test_three_seeds_by_default(tmp_path: Path) -> None:
    assert len(read(tmp_path, 'methods = ["dense"]').jobs) == 3


def test_lists_make_grids(tmp_path: Path) -> None:
    study = read(
        tmp_path,
        """
        title = "prices"
        out = "there"
        seeds = 2
        data = ["mnist5k", "npz:other.npz"]
        network = "lenet300"
        keep = ["fc2"]
        widths = [[30, 10], [20, 5]]

        [method.dense]

        [method.parsimonious]
        price = [10, "fc1=20,fc2=5", 30.5]
        options = { start = [0.5, 0.9], removal = "average" }

        [method.l1-units]
        match = "parsimonious"
        batch_size = 50
        """,
    )
    assert study.title == "prices" and study.out == Path("there")
    counted = {
        name: [j for j in study.jobs if j.settings.method == name] for name in ("dense", "parsimonious", "l1-units")
    }
    assert [len(jobs) for jobs in counted.values()] == [2 * 2 * 2, 2 * 2 * 2 * 3 * 2, 2 * 2 * 2]
    assert {job.settings.keep for job in study.jobs} == {("fc2",)}
    assert {job.settings.widths for job in study.jobs} == {(30, 10), (20, 5)}
    assert {job.settings.price for job in counted["parsimonious"]} == {10.0, "fc1=20,fc2=5", 30.5}
    assert {job.settings.options["start"] for job in counted["parsimonious"]} == {0.5, 0.9}
    assert all(job.settings.options["removal"] == "average" for job in counted["parsimonious"])
    assert {job.match for job in counted["l1-units"]} == {"parsimonious"}
    assert {job.settings.batch_size for job in counted["l1-units"]} == {50}
    assert {job.settings.price for job in counted["dense"]} == {None}


def test_a_table_adds_to_the_list_of_methods(tmp_path: Path) -> None:
    study = read(tmp_path, 'methods = ["dense", "magnitude"]\nseeds = 1\n[method.magnitude]\ndensity = [0.1, 0.2]\n')
    assert [job.settings.density for job in study.jobs] == [None, 0.1, 0.2]


def test_what_is_described_twice_is_made_once(tmp_path: Path) -> None:
    study = read(tmp_path, 'methods = ["dense", "dense"]\nseeds = 1\nepochs = [5, 6, 5]\n')
    assert [job.settings.epochs for job in study.jobs] == [5, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"methods = \[...\] or tables \[method.NAME\]"), ("methods = []", "methods ="),
        ('methods = "dense"', "methods ="), ("methods = [3]", "each of methods must be the name of a method, not 3"),
        ('method = "dense"', "methods ="), ('methods = ["dense"]\n[method]\ndense = 3', "a table of settings, not 3"),
        ('methods = ["dense"]\nseeds = 0', "seeds must be an integer >= 1, not 0"),
        ('methods = ["dense"]\nseeds = [1, 2]', r"not \[1, 2\]"),
        ('methods = ["dense"]\nepochs = -1', "epochs must be an integer >= 0, not -1"),
        ('methods = ["dense"]\nepochs = []', "epochs is an empty list"),
        ('methods = ["dense"]\ntitle = 3', "title must be text"), ('methods = ["dense"]\nout = 3', "out must be"),
        ('methods = ["dense"]\nkeep = "fc1"', "keep must be a list"),
        ('methods = ["dense"]\nepochs = "many"', "epochs must be an integer"),
        ('methods = ["dense"]\n[method.dense]\noptions = 3', "options of dense must be a table"),
        ("methods = [", "study .*study.toml"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('methods = ["dens"]', "unknown method 'dens': did you mean 'dense'"),
        ('methods = ["dense"]\nepoch = 3', "unknown setting 'epoch': did you mean 'epochs'"),
        ('methods = ["dense"]\nsed = 3', "unknown setting 'sed': did you mean 'seeds'"),
        ('[method.dense]\nbatchsize = 3', "did you mean 'batch_size'"),
        ('[method.l1-units]\nmacth = "dense"', "did you mean 'match'"),
        ('[method.l1-units]\nmatch = "parsimonius"', "did you mean 'parsimonious'"),
        ('methods = ["dense"]\nseed = 3', "unknown setting 'seed'"),
    ],
)  # fmt: skip
def test_unknown_names_come_with_the_nearest(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        read(tmp_path, text)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(BayespruneError, match="study"):
            read_study(path)
