"""Re-ranking: works found by the encoder are ordered by a gradient kernel from compressed stored rows."""
