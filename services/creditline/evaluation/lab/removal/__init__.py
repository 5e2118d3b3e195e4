"""Leave-K-out and leave-one-contributor-out experiments by retraining."""
