"""Methods against exact effects: a training that was differentiated, work by work."""
