"""What is in the data that nobody meant to train on."""
