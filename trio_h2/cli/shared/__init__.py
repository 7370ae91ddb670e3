"""What the commands have in common: words, exit codes, options, URLs."""
