"""`trio-h2 get`: URLs, and where what they have goes."""
