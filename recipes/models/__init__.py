"""What models are made of, and what that says about their size."""
