"""Collections on disk: shards, durability, optimization, snapshots."""
