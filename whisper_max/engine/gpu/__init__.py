"""Running the graphs on a GPU."""
