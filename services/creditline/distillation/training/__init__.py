"""Training of the encoder on labels: features, losses, recipes and the training itself."""
