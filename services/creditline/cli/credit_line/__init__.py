"""One credit line, shown four ways that agree: in the terminal, as a page, as a drawing and as JSON."""
