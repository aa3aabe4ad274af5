"""Training rerankers: pairs, negatives, recipes, trainer."""
