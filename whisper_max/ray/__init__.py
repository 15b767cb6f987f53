"""Jobs over many machines, on Ray: ``run`` does a job, ``Transcriber`` is for pipelines of Ray Data of your own.

It takes the extra ``ray``. ``whisper_max.ray.serve`` is the server as a Ray Serve application.
"""

from whisper_max.batch.job import Item as Item
from whisper_max.batch.job import Job as Job
from whisper_max.batch.job import Outcome as Outcome
from whisper_max.ray.cluster import Cluster as Cluster
from whisper_max.ray.cluster import connected as connected
from whisper_max.ray.pipeline import Pool as Pool
from whisper_max.ray.pipeline import run as run
from whisper_max.ray.transcriber import Transcriber as Transcriber

__all__ = ["Cluster", "Item", "Job", "Outcome", "Pool", "Transcriber", "connected", "run"]
