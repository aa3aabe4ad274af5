"""Cross-encoders that score passages for questions, and the compute engines that run them."""
