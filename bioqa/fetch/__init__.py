"""PubMed files over HTTP."""
