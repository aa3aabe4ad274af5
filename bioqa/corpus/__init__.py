"""Corpus dumps to articles, question files and relevance judgements, read record by record; sentences of an article."""
