"""What the pages answer: those of other servers' clients, and those for people and monitors."""

from __future__ import annotations

from rerank_server.gateway.openapi.words import (
    BOOLEAN,
    COUNT,
    NAME,
    NUMBER,
    STRING,
    Json,
    array,
    ref,
    structure,
)
from rerank_server.gateway.paths import Page

_OBJECT: Json = {"type": "object"}
_MAYBE_COUNT: Json = {"type": ["integer", "null"], "minimum": 0}
_MAYBE_NUMBER: Json = {"type": ["number", "null"]}
_NULL: Json = {"type": "null"}
_DIGEST: Json = {
    **NAME,
    "description": "SHA-256 over the version's files; null until they were read.",
}

_CASCADE: Json = {
    **array(
        structure(
            "One stage: who scores, and how many documents go on; null at the last.",
            {"version": STRING, "keep": _MAYBE_COUNT},
            ["version", "keep"],
        )
    ),
    "description": "Only of a cascade: its stages, in order.",
}
_INFO = structure(
    "A version, as text-embeddings-inference describes it.",
    {
        "model_id": STRING,
        "model_sha": _DIGEST,
        "model_dtype": STRING,
        "served_model_name": STRING,
        "model_type": structure("A reranker.", {"reranker": _OBJECT}, ["reranker"]),
        "max_concurrent_requests": COUNT,
        "max_input_length": COUNT,
        "max_batch_tokens": COUNT,
        "max_batch_requests": _MAYBE_COUNT,
        "max_client_batch_size": COUNT,
        "auto_truncate": BOOLEAN,
        "tokenization_workers": COUNT,
        "version": STRING,
        "sha": _NULL,
        "docker_label": _NULL,
        "cascade": _CASCADE,
    },
    ["model_id", "served_model_name", "model_type", "max_client_batch_size", "version"],
)
_CARD = structure(
    "A version, as OpenAI's model list and Xinference describe it.",
    {
        "id": STRING,
        "object": {"const": "model"},
        "created": COUNT,
        "owned_by": STRING,
        "model_type": {"const": "rerank"},
        "model_name": STRING,
        "model_description": STRING,
        "max_model_len": _MAYBE_COUNT,
        "digest": _DIGEST,
        "is_ready": BOOLEAN,
        "cascade": _CASCADE,
    },
    ["id", "object", "model_type", "is_ready"],
)
_MODELS = structure(
    "The enabled versions.",
    {"object": {"const": "list"}, "data": array(ref("Model"))},
    ["object", "data"],
)
_AUTH = structure("Whether a key is needed.", {"auth": BOOLEAN}, ["auth"])
_HEALTH = structure("It answers.", {"status": {"const": "ok"}}, ["status"])
_PROBED = structure(
    "A process, and how it scored the fixed pairs, of which the first fits best.",
    {"id": STRING, "scores": array(NUMBER), "inference_ms": NUMBER},
    ["id", "scores", "inference_ms"],
)
_VERSION_HEALTH = structure(
    "The version is served.",
    {"status": {"const": "ok"}, "version": STRING, "instances": array(_PROBED)},
    ["status", "version"],
)
_READY = structure(
    "A score request would be answered.",
    {"status": {"const": "ready"}, "version": STRING},
    ["status", "version"],
)
_STATES: Json = {
    "enum": ["RUNNING", "STARTING", "BACKOFF", "DRAINING", "STOPPING", "FAILED", "DISABLED"]
}
_DURATION = structure(
    "Seconds the model took for a request; quantiles over a sliding minute.",
    {
        "count": COUNT,
        "sum_s": NUMBER,
        **dict.fromkeys(("p50", "p90", "p95", "p99"), _MAYBE_NUMBER),
    },
    [],
)
_VERSION = structure(
    "A version as it is now.",
    {
        "name": STRING,
        "enabled": BOOLEAN,
        "default": BOOLEAN,
        "state": _STATES,
        "reason": NAME,
        "endpoint": STRING,
        "description": STRING,
        "source": STRING,
        "device": NAME,
        "degraded": NAME,
        "model": NAME,
        "info": {"type": ["object", "null"], "description": "Engine, dtype and the like."},
        "digest": _DIGEST,
        "load_s": _MAYBE_NUMBER,
        "settings": {"type": ["object", "null"]},
        "restarts": _MAYBE_COUNT,
        "totals": {"type": ["object", "null"]},
        "queue": {"type": ["object", "null"]},
        "duration": {"anyOf": [_DURATION, _NULL]},
        "memory_bytes": COUNT,
        "gpu_memory_bytes": COUNT,
        "uptime_s": _MAYBE_NUMBER,
        "cascade": _CASCADE,
    },
    ["name", "state", "endpoint"],
)
_VERSIONS = structure(
    "Every configured version, in the order of the configuration, then those that are in it no "
    "longer, but that a cascade still answers by.",
    {"default": STRING, "generation": COUNT, "versions": array(ref("Version"))},
    ["default", "generation", "versions"],
)
PAGES: dict[str, Json] = {
    "Info": _INFO,
    "Model": _CARD,
    "Models": _MODELS,
    "Auth": _AUTH,
    "Health": _HEALTH,
    "VersionHealth": _VERSION_HEALTH,
    "Ready": _READY,
    "Version": _VERSION,
    "Versions": _VERSIONS,
}
"""Schemas by name."""

_JSON = "application/json"
ROUTED: dict[Page, tuple[str, str, Json]] = {
    Page.INFO: ("A version, as text-embeddings-inference describes it", _JSON, ref("Info")),
    Page.MODELS: ("The enabled versions", _JSON, ref("Models")),
    Page.AUTH: ("Whether a key is needed, for Xinference's clients", _JSON, ref("Auth")),
    Page.OPENAPI: ("This description", _JSON, _OBJECT),
    Page.DOCS: ("This description, for people", "text/html", STRING),
}
"""Summary, media type and schema of the pages behind each endpoint."""
OWN: dict[str, tuple[str, str, Json]] = {
    "/health": ("Whether the gateway answers", _JSON, ref("Health")),
    "/ready": ("Whether a score request would be answered", _JSON, ref("Ready")),
    "/versions": ("Every configured version", _JSON, ref("Versions")),
    "/metrics": ("Metrics for Prometheus", "text/plain", STRING),
}
"""The same of the server's own, by path."""
MODEL = ("One version, or the default for any other name", _JSON, ref("Model"))
VERSION_HEALTH = ("Whether the version is served, and scores", _JSON, ref("VersionHealth"))
OPEN_PAGES = frozenset((Page.AUTH,))
OPEN_PATHS = frozenset(("/health", "/ready"))
"""What is answered without a key, whatever the configuration says."""
