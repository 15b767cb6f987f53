"""Uploads are decoded in processes of their own: a fault in a codec costs one request, and sees no other's recording.

``parent`` is the server's side. It starts one process (``child``) that has imported the decoders and never reads a
recording; that one forks for each upload, and the fork decodes it under ``limits`` and ends. ``frames`` go between.
"""
