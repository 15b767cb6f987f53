"""What `load_server.py` is made of: recordings, servers, the load itself, and the figures."""

from importlib.util import find_spec

_MISSING = [each for each in ("httpx", "matplotlib", "psutil") if find_spec(each) is None]
if _MISSING:
    raise SystemExit(f"{', '.join(_MISSING)} not installed: pip install --group benchmark --group dev")
