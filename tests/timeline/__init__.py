"""`Timeline`: what it records, and what its page says, in a browser too."""
