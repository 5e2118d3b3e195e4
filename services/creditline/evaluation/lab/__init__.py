"""The lab: a small generator that is retrained on subsets of its works, and the recorded losses."""
