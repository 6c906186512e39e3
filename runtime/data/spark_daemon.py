"""What forks Spark's Python processes: it imports once what all of them need."""

from importlib import import_module

from pyspark.daemon import manager

if __name__ == "__main__":
    import_module("fsft.runtime.data.without_torch")
    import_module("fsft.runtime.data.tokenize_part")
    import_module("transformers.utils.chat_template_utils")
    manager()
