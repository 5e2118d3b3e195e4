"""Attribution methods, each an `Attributor`: similarity, gradients, TRAK and NDA, with their registry."""
