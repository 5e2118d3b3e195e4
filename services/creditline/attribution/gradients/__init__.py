"""Per-sample gradients: their targets and parameters, random projections, and storage on disk."""
