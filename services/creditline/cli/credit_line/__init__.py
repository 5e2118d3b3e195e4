"""Renderings of a credit line: in the terminal, as an HTML page, as a drawing and as JSON."""
