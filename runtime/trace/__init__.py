"""What a training step would take, counted on the real model without its memory."""
