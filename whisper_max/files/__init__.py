"""Files that are whole or absent, and the folder of the cache."""
