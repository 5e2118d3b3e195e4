"""What rests on the prompt, which is the caller's word: how queries are read, and how shares divide."""
