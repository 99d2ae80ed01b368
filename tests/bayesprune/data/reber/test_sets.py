import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bayesprune.data import catalogue, describe, from_tensors, load
from bayesprune.data.reber import (
    BASELINES,
    EMBEDDED,
    GRAMMARS,
    PLAIN,
    REBER,
    STUDY,
    WIDTH,
    Grammar,
    altered_transitions,
    decode,
    hard_negatives,
    legal_pairs,
    random_letters,
    read_reber,
    reber_baselines,
)
from bayesprune.data.reber.letters import lengths, token
from bayesprune.errors import DataError, DataUnavailableError, SettingError, UnknownNameError

RELEASED = Path(os.environ.get("BAYESPRUNE_DATA", "/nowhere"))
PAIRS = "BT BP TS TX PT PV SS SX XX XS TT TV VP VV XT XV SE PX PS VE", "TB PB ET EP TE PE"
LEGAL, OUTER = (frozenset(pairs.split()) for pairs in PAIRS)


def test_legal_pairs_by_hand() -> None:
    table = legal_pairs(PLAIN)
    assert table.sum() == len(LEGAL) and all(table[token(pair[0]), token(pair[1])] for pair in LEGAL)
    outer = legal_pairs(EMBEDDED)
    assert outer.sum() == len(LEGAL | OUTER)


@pytest.mark.parametrize("grammar", GRAMMARS.values(), ids=GRAMMARS.keys())
def test_negatives_are_none_of_the_grammar_s(grammar: Grammar) -> None:
    random = np.random.default_rng(1)
    right = grammar.draw(500, random)
    easy = random_letters(grammar, 500, lengths(right), random)
    altered = altered_transitions(grammar, 500, random)
    hard = hard_negatives(grammar, right, 500, random)
    for tokens in (easy, altered, hard):
        assert tokens.shape == (500, WIDTH) and not any(map(grammar.accepts, decode(tokens)))
        assert all(string[0] == "B" and string[-1] == "E" for string in decode(tokens))
    assert set(map(len, decode(easy))) <= set(map(len, decode(right)))
    assert len(set("".join(decode(easy)))) == 26
    assert set("".join(decode(altered))) == set(grammar.letters)
    assert min(map(len, decode(altered))) >= grammar.shortest
    originals = decode(right)
    legal = LEGAL if grammar is PLAIN else LEGAL | OUTER
    for string in decode(hard)[:100]:
        assert all(a + b in legal for a, b in pairwise(string))
        near = [sum(a != b for a, b in zip(string, one, strict=True)) for one in originals if len(one) == len(string)]
        assert min(near) == 1


def test_too_many_hard_ones_are_refused() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(SettingError, match="strings by one replaced letter"):
        hard_negatives(PLAIN, PLAIN.draw(2, random), 10_000, random)


@pytest.mark.parametrize("name", REBER)
def test_sets_are_half_right_and_without_repetitions_of_right_strings(name: str) -> None:
    sizes = (300, 60, 100)
    one, again, other = (REBER[name].draw(seed, sizes) for seed in (0, 0, 1))
    tokens, classes = (np.concatenate(part) for part in zip(*one, strict=True))
    assert [len(part) for part, _ in one] == list(sizes) and classes.sum() == 230
    assert (REBER[name].grammar.accepted(tokens) == (classes == 1)).all()
    right = decode(tokens[classes == 1])
    assert len(set(right)) == len(right)
    assert (np.concatenate([part for part, _ in again]) == tokens).all()
    assert not (np.concatenate([part for part, _ in other]) == tokens).all()
    legal = legal_pairs(REBER[name].grammar)
    in_pairs = [all(legal[token(a), token(b)] for a, b in pairwise(string)) for string in decode(tokens[classes == 0])]
    assert name != "reber-hard" or all(in_pairs)


def test_it_is_loaded_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = read_reber("reber@4")
    assert raw.validation is not None and raw.test is not None
    assert [len(raw.train), len(raw.validation), len(raw.test)] == [17_500, 1_250, 6_250]
    monkeypatch.setattr(catalogue, "read_reber", lambda name: raw if name == "reber@4" else read_reber(name))
    data = load("reber@4")
    assert (data.name, data.inputs.shape, data.inputs.dtypes[""], data.task.name) == (
        "reber@4", (WIDTH,), "int64", "classification",
    )  # fmt: skip
    assert data.class_names == ("not of the grammar", "of the grammar")
    inputs, labels = next(iter(data.train.batches(50)))
    assert torch.equal(inputs, raw.train.inputs[:50]) and torch.equal(labels, raw.train.labels[:50])
    assert {info.name: info.examples for info in describe()}["reber-hard"] == (18_750, 6_250)
    with pytest.raises(SettingError, match="number of the draw"):
        load("reber@x")
    with pytest.raises(UnknownNameError, match="'reber'"):
        load("rebr")


def test_rules_on_strings_that_were_made_for_them() -> None:
    """Right: AB... only; a string with C is wrong, and so is BA, a pair that right training strings lack."""
    train = np.zeros((4, WIDTH), np.int64)
    train[0, :2], train[1, :3], train[2, :2], train[3, :4] = [1, 2], [1, 2, 2], [3, 2], [2, 1, 2, 1]
    classes = np.array([1, 1, 0, 0])
    asked = np.zeros((3, WIDTH), np.int64)
    asked[0, :4], asked[1, :3], asked[2, :4] = [1, 2, 2, 2], [1, 3, 2], [2, 1, 2, 1]
    answers = {name: rule(train, classes, asked).tolist() for name, rule in BASELINES.items()}
    assert answers["length alone"] == [0, 1, 0]
    assert answers["a letter never seen in right strings"] == [1, 0, 1]
    assert answers["all letter pairs seen in right strings"] == [1, 0, 0]
    assert answers["all letter triples seen in right strings"] == [0, 0, 0]
    assert answers["last four letters"][2] == 0


@pytest.mark.skipif(STUDY.find_in(RELEASED) is None, reason="needs the study's strings")
def test_the_study_s_split_and_the_baselines_of_the_note() -> None:
    data = load("reber-study", root=RELEASED)
    assert data.split_sizes == {"train": 17_500, "validation": 1_250, "test": 6_250}
    found = [baseline.accuracy for baseline in reber_baselines(data)]
    assert found == pytest.approx([0.777, 0.779, 0.884, 0.938, 0.937, 0.9997, 1.0], abs=6e-4)
    for split in (data.train, data.validation, data.test):
        ((inputs, labels),) = split.batches(len(split))
        assert (PLAIN.accepted(inputs.numpy()) == (labels.numpy() == 1)).all()


def test_the_study_s_files(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match="no download; 'reber' is drawn anywhere.*reber/train_data.csv"):
        load("reber-study", root=tmp_path)
    folder = tmp_path / "reber"
    folder.mkdir()

    def write(train: str) -> None:
        (folder / "train_data.csv").write_text(train)
        (folder / "test_data.csv").write_text(",string,valid\n0,BTXSE,1\n1,BTE,0\n")

    rows = "".join(f"{number},{'BTXSE' if number % 2 else 'BTSE'},{number % 2}\n" for number in range(2_000))
    write(",string,valid\n" + rows)
    assert load("reber-study", root=tmp_path).split_sizes == {"train": 750, "validation": 1_250, "test": 2}
    assert load("reber-study@400", root=tmp_path).split_sizes["validation"] == 400
    for text, message in (
        (",string\n0,BTXSE\n", "columns 'string' and 'valid'"),
        (",string,valid\n0,BTXSE,yes\n", "'valid' is 'yes' in row 1"),
        (",string,valid\n0,btxse,1\n", "letter 'b' is unknown"),
        (",string,valid\n0,,1\n", "string 0 has 0 letters"),
    ):
        write(text)
        with pytest.raises(DataError, match=message):
            load("reber-study", root=tmp_path)


def test_other_data_have_no_such_baselines() -> None:
    pictures = from_tensors(torch.rand(40, 3), torch.arange(40) % 2)
    with pytest.raises(DataError, match="tokens beyond|no strings"):
        reber_baselines(pictures)
    with pytest.raises(DataError, match="tokens beyond 0 to 26"):
        reber_baselines(from_tensors(torch.randint(0, 99, (60, 5)), torch.arange(60) % 2))
