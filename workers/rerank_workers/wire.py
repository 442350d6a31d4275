"""The contract with the supervisor and the gateway: message names, exit codes, routes, histogram.

`rerank_server/core/wire.py` is the other copy; a contract test holds the two equal.
"""

PROTOCOL = 1

# Control channel: one JSON object a line, field "type". Up:
HELLO = "hello"
PROGRESS = "progress"
READY = "ready"
BEAT = "beat"
DRAINED = "drained"
FAILED = "failed"
# Down:
CONFIGURE = "configure"
DRAIN = "drain"
STOP = "stop"

# Exit codes of a worker process (not those of the CLI).
EXIT_DONE = 0
EXIT_CRASHED = 1
EXIT_WOULD_FAIL_AGAIN = 3  # bad files, missing library, broken rerank.py: a respawn cannot help
EXIT_NO_DEVICE_MEMORY = 4  # the device had no room: place again
EXIT_ORPHANED = 5  # the supervisor is gone

# Field "cause" of a "failed" message, where the device is to blame and not the version.
CAUSE_GPU_ERROR = "gpu_error"  # a CUDA error: the process cannot use its card any more

# HTTP over the worker's Unix socket.
SCORE_PATH = "/score"
PROBE_PATH = "/probe"
HEADER_DEADLINE_MS = "x-rerank-deadline-ms"  # remaining time of the request, milliseconds
HEADER_ALONE = (
    "x-rerank-alone"  # "1": score this request in a batch of its own (a retry after a loss)
)
HEADER_MIRROR = "x-rerank-mirror"  # "1": a copy for comparison: scored while nothing else waits
HEADER_MAX_QUEUED_PAIRS = "x-rerank-max-queued-pairs"  # 429 when more than these would wait
MAX_QUEUED_PAIRS = 20_000  # for requests without that header
CODE_DRAINING = "draining"  # 503: nothing was executed, walk on
CODE_QUEUE_FULL = "queue_full"  # 429
CODE_MODEL_ERROR = "model_error"  # 500
CODE_DEADLINE = "deadline_exceeded"  # 504
CODE_BAD_REQUEST = "invalid_request"  # 400

# Log-bucketed histogram of model time: bucket i holds seconds in [MIN*G**i, MIN*G**(i+1)).
HISTOGRAM_MIN_S: float = 1e-4
HISTOGRAM_GROWTH: float = 1.1
HISTOGRAM_BUCKETS = 160  # up to about 420 s; the last bucket holds everything longer
