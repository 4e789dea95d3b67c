"""Whatever fuzzing has once begun with, or found worth keeping, is read as it has to be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "protocol"))

import seeds
import targets


@pytest.mark.slow
@pytest.mark.parametrize("target", targets.TARGETS)
def test_seeds_and_corpus_raise_nothing(target: str):
    inputs = [*seeds.from_tables(target), *seeds.from_corpus(target)]
    assert inputs
    for data in inputs:
        targets.TARGETS[target](data)
