"""An answer: its shares, and the forms in which it is served and stored."""
