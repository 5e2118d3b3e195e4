"""Leave-K-out and leave-one-contributor-out by retraining."""
