"""The posterior for people: counts by hand, ArviZ's numbers, and the picture."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bayesprune.errors import SettingError
from bayesprune.experiments.posterior_view import MOST_GATES, plot_posterior, summarise
from bayesprune.experiments.report.drawing import ACCENT, CONTRAST
from bayesprune.run.arviz_view import for_arviz, import_arviz
from bayesprune.run.datatree import to_datatree
from bayesprune.store.runs import RunRecord

MakeRun = Callable[..., RunRecord]


def theta_of(run: RunRecord) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    assert run.posterior is not None
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = run.posterior["inclusion_probability"].double().numpy()
    return values


def to_rgb_bytes(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def test_groups_are_counted(make_run: MakeRun) -> None:
    run = make_run("parsimonious", 1)
    summary = summarise([run])
    theta = theta_of(run)
    assert summary.groups.index.tolist() == ["inputs", "fc1", "fc2"]
    for name, part in zip(("inputs", "fc1", "fc2"), np.split(theta, [16, 24]), strict=True):
        row = summary.groups.loc[name]
        assert row["gates"] == len(part)
        assert row["open"] == (part > 0.5).sum()
        assert row["undecided"] == ((part > 0) & (part < 1)).sum()
        assert row["mean_inclusion_probability"] == pytest.approx(part.mean())
    assert summary.restarts == 1


def test_why_gates_were_closed_is_the_mean_over_restarts(make_run: MakeRun) -> None:
    ends = ([1] * 4 + [2] * 2 + [0] * 24, [1] * 6 + [3] * 3 + [0] * 21)
    runs = [make_run("parsimonious", seed, ends=own) for seed, own in enumerate(ends)]
    row = summarise(runs).groups.loc["inputs"]
    names = ("open", "closed_by_price", "closed_at_end", "cut_for_budget")
    assert [row[name] for name in names] == [(10 + 7) / 2, 5.0, 1.0, 1.5]
    assert "closed_at_end: closed when pruning ended, worth less than their price then" in summarise(runs).text()
    mixed = summarise([runs[0], make_run("parsimonious", 2)])  # a run of an older version does not say
    assert "closed_by_price" not in mixed.groups and "closed_by_price" not in mixed.text()


def test_open_gates_have_the_mean_of_the_inclusion_probabilities(make_run: MakeRun) -> None:
    run = make_run("parsimonious", 1)
    table = summarise([run], draws=4000).open_gates
    theta = theta_of(run)[:16]
    error = np.sqrt((theta * (1 - theta)).sum() / 4000)
    assert table.loc["open_gates[inputs]", "mean"] == pytest.approx(theta.sum(), abs=4 * error)
    assert table["r_hat"].isna().all()


def test_the_least_certain_gates_are_shown_and_no_more_than_twenty(make_run: MakeRun) -> None:
    run = make_run("parsimonious", 2, sizes={"inputs": 300, "fc1": 8}, input_shape=(300,))
    summary = summarise([run])
    theta = theta_of(run)
    names = [f"z[inputs[{i}]]" for i in range(300)] + [f"z[fc1[{i}]]" for i in range(8)]
    nearest = sorted(np.argsort(abs(theta - 0.5), kind="stable")[:MOST_GATES])
    assert summary.uncertain_gates.index.tolist() == [names[place] for place in nearest]
    assert summary.uncertain == ((theta > 0) & (theta < 1)).sum() > MOST_GATES
    assert f"The 20 nearest to 1/2 of {summary.uncertain} uncertain gates" in summary.text()


def test_restarts_are_compared(make_run: MakeRun) -> None:
    summary = summarise([make_run("parsimonious", seed) for seed in range(3)])
    assert summary.restarts == 3
    assert (summary.open_gates["r_hat"] > 1.0).all()


def test_gates_that_never_change_have_no_r_hat(make_run: MakeRun) -> None:
    """Closed in one restart and open in the other: R-hat would be without bound, and says nothing."""
    runs = [make_run("parsimonious", seed) for seed in range(2)]
    for run, value in zip(runs, (0.0, 1.0), strict=True):
        assert run.posterior is not None
        run.posterior["inclusion_probability"][:16] = value
    summary = summarise(runs)
    assert len(summary.uncertain_gates) == 16 and summary.uncertain_gates["r_hat"].isna().all()
    (line,) = [line for line in summary.text().splitlines() if line.startswith("z[inputs[0]]")]
    assert line.split()[-1] == "-" and "e+" not in line
    document = json.loads(json.dumps(summary.document(), allow_nan=False))
    assert document["uncertain_gates"]["z[inputs[0]]"]["r_hat"] is None


def test_of_several_restarts_only_input_features_are_listed(make_run: MakeRun) -> None:
    one, several = summarise([make_run("parsimonious", 0)]), summarise([make_run("parsimonious", s) for s in range(3)])
    assert any("fc1" in name for name in one.uncertain_gates.index)
    assert len(several.uncertain_gates)
    assert all(name.startswith("z[inputs[") for name in several.uncertain_gates.index)
    assert "Hidden units are listed for a single run only" in several.text()
    assert "Hidden units are listed" not in one.text() and len(one.agreement) == 0
    assert several.agreement.loc["inputs", "features"] == 16


def test_without_an_uncertain_gate_the_text_says_so(make_run: MakeRun) -> None:
    run = make_run("parsimonious", 3)
    assert run.posterior is not None
    run.posterior["inclusion_probability"].round_()
    summary = summarise([run])
    assert len(summary.uncertain_gates) == summary.uncertain == 0
    assert "Every gate is certain" in summary.text()


def test_the_text_and_the_document_say_the_same(make_run: MakeRun) -> None:
    summary = summarise([make_run("parsimonious", 1)])
    document = json.loads(json.dumps(summary.document(), allow_nan=False))
    assert document["groups"]["inputs"]["gates"] == 16
    assert document["open_gates"]["open_gates[fc1]"]["r_hat"] is None
    assert document["restarts"] == 1
    assert "compare restarts only" in document["note"]
    text = summary.text()
    assert str(summary) == text
    assert all(name in text for name in (*document["groups"], *document["uncertain_gates"]))
    assert "compare restarts only" in text


def test_nothing_leaks_and_logging_goes_on(make_run: MakeRun, capfd: pytest.CaptureFixture[str]) -> None:
    run = make_run("parsimonious", 1)
    arviz = import_arviz()
    arviz.summary(for_arviz(to_datatree([run], draws=3)), var_names=["open_gates"])
    assert "Shape validation" in "".join(capfd.readouterr())  # what ArviZ says by itself
    summarise([run])  # a warning would be an error here
    assert capfd.readouterr() == ("", "")
    assert not any(logging.getLogger(name).disabled for name in ("arviz", "arviz.rcparams"))


def test_bad_input_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="at least 4"):
        summarise([make_run("parsimonious")], draws=3)
    with pytest.raises(SettingError, match="has no posterior"):
        summarise([make_run("dense")])
    with pytest.raises(SettingError, match=r"\.png or \.svg"):
        plot_posterior([make_run("parsimonious")], tmp_path / "posterior.pdf")
    assert not (tmp_path / "posterior.pdf").exists()


def test_the_picture_is_a_png_or_an_svg(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("parsimonious", seed) for seed in range(2)]
    png = plot_posterior(runs[:1], tmp_path / "new" / "posterior.png")
    with Image.open(png) as image:
        assert image.format == "PNG"
        # Not an empty sheet: the blue of the bars and the orange of the line are there.
        colours = {pixel for _, pixel in image.convert("RGB").getcolors(1 << 24) or []}
    assert {to_rgb_bytes(ACCENT), to_rgb_bytes(CONTRAST)} <= colours
    svg = plot_posterior(runs, tmp_path / "posterior.SVG").read_text("utf-8")
    assert "<svg" in svg
    assert all(text in svg for text in ("inputs: 16 gates", "fc2: 6 gates", "2 restarts together"))
