"""Encoders for tests: vectors that depend only on the text, made at once."""

import hashlib

import numpy as np

from bioqa.index.manifest import VectorInfo


class TextEncoder:
    """A random direction for each text; ``name`` makes others. Articles whose id is in ``without`` have no vector."""

    def __init__(self, name="made", dimension=16, similarity="cosine", without=(), source=""):
        self.info = VectorInfo(name, f"digest of {name}", dimension, similarity, source=source)
        self.without = set(without)
        self.encoded = 0

    def vector(self, text):
        seed = int.from_bytes(hashlib.sha256(f"{self.info.model} {text}".encode()).digest()[:8], "little")
        values = np.random.default_rng(seed).normal(size=self.info.dimension)
        return (values / np.linalg.norm(values)).astype(np.float32)

    def encode_articles(self, articles):
        self.encoded += len(articles)
        nothing = np.full(self.info.dimension, np.nan, np.float32)
        return np.array(
            [nothing if article.id in self.without else self.vector(article.default_text()) for article in articles]
        ).reshape(len(articles), self.info.dimension)

    def encode_queries(self, texts):
        return np.array([self.vector(text) for text in texts])
