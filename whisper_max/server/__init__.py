"""An OpenAI-compatible server: many requests, one model in memory, one batch for all of them.

It takes the extra ``server``: FastAPI, uvicorn, python-multipart and prometheus-client.
"""
