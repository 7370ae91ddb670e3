"""What puts trio_h2 under other libraries, each with an extra of its own: users of its public names like any other."""
