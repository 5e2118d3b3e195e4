"""API keys and what they permit."""
