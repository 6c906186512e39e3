"""What the trained model has learned."""
