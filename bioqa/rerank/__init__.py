"""Cross-encoders that score passages for questions, and the engines that run them."""
