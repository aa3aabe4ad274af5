"""BioASQ's file formats and rules."""
