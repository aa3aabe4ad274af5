"""Files of every room: output, locks, checkpoints, text, tables, TREC runs and qrels, TOML."""
