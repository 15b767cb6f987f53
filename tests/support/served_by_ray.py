"""``python -m tests.support.served_by_ray PORT SETTINGS``: the server as a Ray Serve application, until its input ends.

SETTINGS is the application's arguments as JSON. Prints how many replicas run, as soon as they do.
"""

import json
import sys
import time

from whisper_max.ray.cluster import imported
from whisper_max.ray.serve import app


def main() -> None:
    ray = imported()
    from ray import serve

    ray.init("local", num_cpus=4, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(app(json.loads(sys.argv[2])))
    print(sum(serve.status().applications["default"].deployments["whisper_max"].replica_states.values()), flush=True)
    sys.stdin.read()
    serve.shutdown()
    time.sleep(0.5)  # its controller says goodbye
    ray.shutdown()


if __name__ == "__main__":
    main()
