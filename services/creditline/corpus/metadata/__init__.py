"""Values of metadata as they come from tables and JSON, and the people that they name."""
