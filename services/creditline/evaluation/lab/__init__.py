"""The lab: a small generator that is really retrained on subsets of its works, and its recorded losses."""
