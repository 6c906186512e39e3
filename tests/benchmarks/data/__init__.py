"""How fast, how small and how exact the preparation of data is."""
