"""How any classifier is trained and scored: the loop, the evaluation, the checkpoint."""
