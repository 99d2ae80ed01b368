"""What was done, and where it departs from what the authors' code and notebooks did."""

from collections.abc import Sequence

from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.experiments.words import listed
from bayesprune.store.runs import RunRecord

NOTES = (
    "Every accuracy is that of the last epoch on the test split. Test accuracy is also taken down after the 1st, "
    "101st, 201st, ... step of training, as in the notebooks, to show how fast a network learns; nothing is chosen by "
    "it. In means, a run that never reaches an accuracy counts with all its steps.",
    "± is the sample standard deviation over seeds. The notebooks have two runs a method, the paper five.",
    "Transfer as in the authors' code: Adam at 5e-4, the kernels' distance weighs 1e-3, the sum of squares 1e-4 over "
    "the density (LeNet-5: 1e-5), layer-wise masks by magnitude of all weights, masked ones too, every 100 steps but "
    "not in the last 100, cut strictly above the threshold. The student's kernel is summed over all coordinates, "
    "masked weights' too, except where “projected” says otherwise.",
    "Training as there: Adam at 1e-3, batches of 64, cross-entropy with next to no decay. The decay's gradient (2e-8 "
    "times the weight) is taken of biases too, where theirs leaves them out.",
    "Images: 5,000 of the 60,000 training images are held out, for transfer and training alike, where the notebooks "
    "hold out 120 for transfer and 6,000 for training. So 50 epochs are 43,000 steps, where theirs are 42,200; and "
    "18,720 steps of transfer pass the images 21.8 times, where theirs pass them 20 times. Order and initial weights "
    "are our own. The last batch of an epoch holds the images that are left (24 of 55,000), and counts as a step; the "
    "notebooks' numbers of steps say that theirs does, too.",
    "Pixels are scaled by the mean and deviation of the training split, one pair for all pixels; on each data set its "
    "own, in the transfer from one to another too.",
    "Runs with the same seed begin with the same weights, drawn as in the authors' code (Glorot's variance, normal, "
    "cut off at two deviations; biases with deviation 0.01): teacher, random, magnitude and SNIP alike. “dense” "
    "excepted: it begins with the layers' own weights.",
    "“random (released)” is the authors' random baseline: the magnitude masks, their entries moved about within every "
    "unit (in convolutions, within the columns of a kernel). Theirs are moved alike in all runs, ours by the seed. "
    "“random (uniform)” draws every layer's weights uniformly.",
    "The authors' rounding leaves tangent transfer 7,983 weights of LeNet-300-100 and 12,911 of LeNet-5; the others "
    "keep 3 % to the nearest weight, 7,986 and 12,915. The notebooks' baselines have their rounding.",
    "SNIP and logit-SNIP score 100 training images that are drawn at random, where theirs score the first 100.",
    "Kernel distances are means over four groups of 64 validation images, 32 x 32 pairs each, with the masks at the "
    "end of every epoch of the transfer; the notebooks have one such group. A distance at the start differs "
    "several-fold between seeds, and by half between groups. Ratios differ little between groups, but the farther "
    "apart teacher and student start, the smaller, by and large, is the share that is left.",
    "Transfer from one data set to another, with 5,000 steps of transfer and 20 epochs of training, is of our making: "
    "the paper's own could not be read, nor its figures for Fashion-MNIST.",
    "Seconds are wall time of runs of one thread, some of which ran side by side, and hold what it takes to take down "
    "the test accuracy. Shorter transfers, the projected kernel, LeNet-5's short transfer and the transfer between "
    "data sets have one seed: there is no spread.",
)


def protocol_notes(found: Sequence[RowRuns]) -> list[str]:
    """Where these runs are not the study's own: shorter, on other data, or with other steps; and their splits."""
    runs = [run for one in found for run in one.records]
    sizes = {str(run.data["name"]): run.data["split_sizes"] for run in runs}
    splits = [
        f"{name}: {size['train']:,} to train, {size['validation']:,} to validate, {size['test']:,} to test"
        for name, size in sizes.items()
    ]
    notes = [f"Examples: {'; '.join(splits)}."] if splits else []
    steps = sorted({steps for run in runs if (steps := _steps(run)) is not None})
    if steps:
        notes.append(f"Steps of transfer in these runs: {listed([f'{each:,}' for each in steps])}.")
    return notes


def _steps(run: RunRecord) -> int | None:
    """Of its transfer."""
    options = run.settings.get("options") or {}
    return int(options["steps"]) if "steps" in options else None
