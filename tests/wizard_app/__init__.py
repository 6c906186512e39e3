"""The wizard as a person meets it: keys, screens, a terminal, a browser."""
