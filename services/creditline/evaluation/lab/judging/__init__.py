"""Assessment of attribution methods by the lab's record: LDS, tuning, and weights of an ensemble."""
