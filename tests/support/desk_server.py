"""A server with a model of fake logits in a process of its own, to be killed.

``python -m ... FOLDER SECONDS [WINDOWS]`` prints its port once it listens. SECONDS: what the model waits before each
window. WINDOWS: after so many it stands still.
"""

import math
import sys

from tests.support.served import FakeLoader
from whisper_max.server.app import create_app
from whisper_max.server.run import DrainingServer
from whisper_max.server.settings import Settings


class Server(DrainingServer):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    loader = FakeLoader()
    loader.inference.seconds = float(sys.argv[2])
    loader.inference.most = float(sys.argv[3]) if sys.argv[3:] else math.inf
    settings = Settings(port=0, jobs=sys.argv[1])
    Server(settings, create_app(settings, loader.loader)).run()
