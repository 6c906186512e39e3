"""What the screens of the wizard are made of."""
