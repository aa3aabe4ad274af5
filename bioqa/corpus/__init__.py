"""Read corpora, question files and relevance judgements; split articles into sentences."""
