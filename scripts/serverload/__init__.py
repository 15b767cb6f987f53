"""What `load_server.py` is made of: recordings, servers, the load itself, and the figures."""
