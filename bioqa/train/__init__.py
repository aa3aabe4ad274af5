"""Training of rerankers: from a recipe and pairs files to a model folder."""
