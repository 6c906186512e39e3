"""What devices, links and machines can do."""
