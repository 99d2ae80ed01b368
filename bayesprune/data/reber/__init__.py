"""Strings of Reber grammars, and strings that are none, to tell apart: drawn anywhere, without a download."""

from bayesprune.data.reber.baselines import BASELINES, Baseline, reber_baselines
from bayesprune.data.reber.grammar import EMBEDDED, GRAMMARS, PLAIN, Grammar
from bayesprune.data.reber.letters import PADDING, VOCABULARY, WIDTH, decode, encode
from bayesprune.data.reber.negatives import altered_transitions, hard_negatives, legal_pairs, random_letters
from bayesprune.data.reber.sets import REBER, SIZES, is_reber, read_reber
from bayesprune.data.reber.study import STUDY

__all__ = [
    "BASELINES",
    "EMBEDDED",
    "GRAMMARS",
    "PADDING",
    "PLAIN",
    "REBER",
    "SIZES",
    "STUDY",
    "VOCABULARY",
    "WIDTH",
    "Baseline",
    "Grammar",
    "altered_transitions",
    "decode",
    "encode",
    "hard_negatives",
    "is_reber",
    "legal_pairs",
    "random_letters",
    "read_reber",
    "reber_baselines",
]
