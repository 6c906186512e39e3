"""Images beside text: read, counted in tokens before training, turned into numbers in it."""
