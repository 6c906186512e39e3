"""What is found in data, and what is not."""
