"""Who speaks when: two small networks, and what puts their answers together."""
