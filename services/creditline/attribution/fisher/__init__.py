"""Fisher information of the training set by EK-FAC, and its storage on disk."""
