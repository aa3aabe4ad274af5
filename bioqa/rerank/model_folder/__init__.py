"""The files of a model folder."""
