"""Ways to ask: a request that may be repeated, several requests at once, and requests that keep coming."""
