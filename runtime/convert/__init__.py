"""From a DeepSpeed checkpoint to a folder in Hugging Face format."""
