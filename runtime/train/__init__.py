"""Training on DeepSpeed, one process a device."""
