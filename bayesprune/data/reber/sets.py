"""The Reber sets by name: `reber`, `reber-embedded`, `reber-hard`; `reber@3` is draw 3."""

from dataclasses import dataclass

import numpy as np

from bayesprune.data.draws import plain_and_draw
from bayesprune.data.examples import RawData, to_examples
from bayesprune.data.reber.grammar import EMBEDDED, PLAIN, Grammar
from bayesprune.data.reber.letters import Tokens, lengths
from bayesprune.data.reber.negatives import altered_transitions, hard_negatives, random_letters

CLASSES = ("not of the grammar", "of the grammar")
SIZES = (17_500, 1_250, 6_250)
"""Training, validation and test strings: 18,750 and 6,250 as in the study of sparse recurrent networks."""


@dataclass(frozen=True)
class ReberSet:
    """Strings of a grammar and as many others.

    Attributes:
        name: to load it by.
        grammar: of the right strings.
        easy: share of wrong strings with random letters from A to Z.
        hard: share with one letter replaced and all pairs of neighbours legal; the rest has altered transitions.
        what: what it is, in a few words.
    """

    name: str
    grammar: Grammar
    easy: float
    hard: float
    what: str

    def draw(self, seed: int, sizes: tuple[int, ...] = SIZES) -> list[tuple[Tokens, Tokens]]:
        """Tokens [N, WIDTH] and classes [N] of each split; no right string is there twice.

        Args:
            seed: number of the draw.
            sizes: strings of each split, half of them right.
        """
        random = np.random.default_rng([len(self.name), seed])
        wrong_of_all = sum(sizes) // 2
        right = self.grammar.draw(sum(sizes) - wrong_of_all, random)
        counts = round(self.easy * wrong_of_all), round(self.hard * wrong_of_all)
        rest = wrong_of_all - sum(counts)
        parts = [random_letters(self.grammar, counts[0], lengths(right), random)] if counts[0] else []
        parts += [hard_negatives(self.grammar, right, counts[1], random)] if counts[1] else []
        parts += [altered_transitions(self.grammar, rest, random)] if rest else []
        tokens = np.vstack([right, *parts])
        order = random.permutation(len(tokens))
        classes = (np.arange(len(tokens)) < len(right)).astype(np.int64)
        cuts = np.cumsum(sizes)[:-1]
        return list(zip(np.split(tokens[order], cuts), np.split(classes[order], cuts), strict=True))


REBER = {
    one.name: one
    for one in (
        ReberSet(
            "reber", PLAIN, 0.5, 0.0,
            "strings of Reber's grammar or not, up to 60 letters; wrong: random letters, altered transitions",
        ),
        ReberSet(
            "reber-embedded", EMBEDDED, 0.0, 0.5,
            "the embedded grammar; wrong: altered transitions, or one letter, with all pairs of letters legal",
        ),
        ReberSet(
            "reber-hard", PLAIN, 0.0, 1.0,
            "Reber's grammar; wrong in one letter, with all pairs of letters legal; reber-hard@3 is another draw",
        ),
    )
}  # fmt: skip
"""By name."""


def is_reber(name: str) -> bool:
    """Whether a name of data, with or without its draw, is that of a Reber set that is drawn."""
    return name.partition("@")[0] in REBER


def read_reber(name: str) -> RawData:
    """Draw the three splits of a set: "reber" is draw 0, "reber@3" draw 3. Equal names give equal strings.

    Raises:
        SettingError: the draw is no whole number from 0 on.
    """
    plain, draw = plain_and_draw(name)
    train, validation, test = (to_examples(*split, name) for split in REBER[plain].draw(draw))
    return RawData(name, train, validation, test, classes=2, class_names=CLASSES)
