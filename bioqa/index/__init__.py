"""The Lucene index of articles: build, update, verify, read."""
