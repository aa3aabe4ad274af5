"""Files: written whole or not at all, locked, resumed; TREC, tables and TOML."""
