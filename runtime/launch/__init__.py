"""Starting the training processes on one machine or several, and watching over them."""
