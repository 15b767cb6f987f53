"""OpenAI's HTTP API and the page: forms in, answers out."""
