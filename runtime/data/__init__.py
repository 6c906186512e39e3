"""From raw files to token ids."""
