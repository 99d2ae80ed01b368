"""`bayesprune paper`: the study of a paper's method."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesprune.experiments.commands.flags import RUNS, Accepted, Count, Out, Switch


def paper(
    name: str,
    /,
    *,
    part: Annotated[str, Parameter(group=RUNS)] = "all",
    quick: Switch = False,
    out: Out | None = None,
    data: Annotated[str | None, Parameter(group=RUNS, show_default=False)] = None,
    repeats: Annotated[int | None, Parameter(group=RUNS, show_default=False)] = None,
    steps: Annotated[int | None, Parameter(group=RUNS, show_default=False)] = None,
    workers: Count = 2,
    fresh: Switch = False,
    resume: Accepted = True,
    finished: Switch = False,
    json: Switch = False,
) -> None:
    """Make the runs of a paper's study, and its page, tables and pictures; finished runs are not made again.

    Args:
        name: Of the paper: parsimonious, hidden-structures, tangent-transfer, spike-slab, teachers, uncertainty,
            layer-sparsity or cifar.
        part: Of the study, or all. parsimonious: lenet300, lenet5; hidden-structures: pruning, foresight,
            structured, and, not part of all, reber, 70 networks of one to three minutes, rnn-pruning, rnn-pruning-long
            with the published epochs, search, architecture search with a predictor, and graphs and prediction, which
            make no runs and need the study's tables;
            tangent-transfer: lenet300, lenet5, transfer, and lenet5-full, which takes days on a
            processor and is not part of all; spike-slab: mnist-mlp, fashion-mlp, mnist-lenet, fashion-lenet,
            bmrs-lenet5, bmrs-mlp, lenet300, lenet5, and published-recipe, SS-IG's 1,200 epochs, not part of all;
            teachers: teacher200, and teacher2000, not part of all; layer-sparsity: students, mnist, fashion, and,
            not part of all, fresh-students and refit; cifar: vgg16, resnet20, resnet56, and, not part of all, the same
            with -long behind them, the published number of epochs, and resnet20-cpu, layer gates on 4,000 pictures.
        quick: Few and short runs, on mnist5k where others are on MNIST and on reber where they read strings: every
            factor and picture, no figure to rely on.
        out: Folder of the run folders and results; by default paper-NAME, with --quick paper-NAME-quick.
        data: Another data set than the study's.
        repeats: How often hidden-structures and uncertainty repeat their runs; by default 2, in the paper of
            hidden-structures 10 to 25. Of teachers the draws of the data, by default 10; of layer-sparsity the seeds on
            pictures, by default 3.
        steps: Of every transfer of tangent-transfer, instead of the study's: 18,720, 300 for lenet5, 5,000 for
            transfer.
        workers: Processes, one thread each.
        fresh: Start interrupted runs anew instead of going on from their checkpoints.
        resume: Accepted; it is what happens anyway.
        finished: Make no runs: only the page of those that are finished.
        json: Print one JSON object, which results.json holds too.
    """
    from bayesprune.errors import SettingError
    from bayesprune.experiments.commands.output import answer, answer_object
    from bayesprune.experiments.commands.shared import make
    from bayesprune.experiments.papers import paper as paper_of
    from bayesprune.experiments.papers.results import write_results
    from bayesprune.experiments.papers.rows import finished_of, gather, jobs_of, names_of
    from bayesprune.store.runs import RunRecord

    study = paper_of(name)
    if part in study.computed or part in study.searched:
        place = out or Path(f"paper-{study.name}-{part}{'-quick' if quick else ''}")
        if part in study.searched and finished:
            raise SettingError(
                f"part {part} has no page of some of its runs, since each decides what the next ones are: leave out "
                "--finished; what is finished is not made again"
            )
        if part in study.searched:
            computed = study.searched[part](
                place, quick=quick, data=data, repeats=repeats, workers=workers, fresh=fresh
            )
        else:
            computed = study.computed[part](quick=quick)
        values = write_results(f"{study.name}-{part}", computed, [], place)
        if json:
            answer_object(values)
        else:
            answer("\n".join([*computed.lines, f"report: {values['report']}"]))
        return
    rows = study.rows(part, quick=quick, data=data, repeats=repeats, steps=steps)
    place = out or Path(f"paper-{study.name}{'-quick' if quick else ''}")
    jobs = jobs_of(rows)
    if finished:
        jobs, folders = finished_of(jobs, place)
    else:
        folders = make(jobs, place, workers=workers, fresh=fresh, names=names_of(rows))
    found = gather(rows, jobs, [RunRecord.read(folder) for folder in folders])
    findings = study.evaluate(found)
    values = write_results(study.name, findings, found, place)
    if json:
        answer_object(values)
        return
    answer("\n".join(findings.lines))
    answer(f"report: {values['report']}")
