"""The engines that compute logits."""
