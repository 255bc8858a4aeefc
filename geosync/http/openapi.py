"""The description of the interface for programs, as OpenAPI 3.1 knows it."""

from __future__ import annotations

from typing import Final

JsonObject = dict[str, object]

_TOKEN: Final[list[JsonObject]] = [{"token": []}]
_DOCUMENT: Final[JsonObject] = {"type": "object"}
_LIST: Final[JsonObject] = {"type": "array", "items": {"type": "object"}}
_VERSION: Final[JsonObject] = {"enum": ["ancestor", "winner", "loser"]}
_TIMEOUT: Final[JsonObject] = {
    "timeout_s": {"type": "number", "minimum": 0, "maximum": 60, "default": 20}
}


def openapi(version: str) -> JsonObject:
    """Returns the description; what JSON documents hold is told in docs/commands.md."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "geosync",
            "version": version,
            "description": "One site of a volume. Documents are those that the commands print with"
            " --json. What changes something, or makes the daemon look at everything, needs the"
            " token that `geosync status --http` shows.",
        },
        "paths": {
            "/live": {"get": _get("Whether the process is there", "text/plain")},
            "/ready": {
                "get": _get(
                    "Whether this site may take traffic",
                    "text/plain",
                    "application/json",
                    parameters=[_query("max_lag", "seconds", 60)],
                    unavailable="It may not; the text says why",
                )
            },
            "/metrics": {"get": _get("Metrics for Prometheus", "text/plain")},
            "/v1/openapi.json": {"get": _json("This description", _DOCUMENT)},
            "/v1/status": {"get": _json("As `geosync status --json`", _DOCUMENT)},
            "/v1/events": {
                "get": _get("Events `status`, `conflicts`, `problems`", "text/event-stream")
            },
            "/v1/conflicts": {"get": _json("As `geosync conflicts list --json`", _LIST)},
            "/v1/conflicts/diff": {
                "post": _post(
                    "How two versions of a conflict differ: `lines` of a unified diff",
                    id={"type": "string"},
                    **{"from": _VERSION | {"default": "winner"}},
                    to=_VERSION | {"default": "loser"},
                )
            },
            "/v1/conflicts/resolve": {
                "post": _post(
                    "Settle a conflict on all sites; returns it as it was",
                    id={"type": "string"},
                    take={"enum": ["winner", "loser", "both"]},
                )
            },
            "/v1/brakes": {"get": _json("As `geosync brake list --json`", _LIST)},
            "/v1/brakes/decide": {
                "post": _post(
                    "Decide about what a brake holds",
                    id={"type": "string"},
                    verdict={"enum": ["approved", "rejected"]},
                )
            },
            "/v1/sync": {"post": _post("As `geosync sync`: how far all is", **_TIMEOUT)},
            "/v1/token": {
                "post": _post("A token that names all that was written here before", **_TIMEOUT)
            },
            "/v1/wait": {
                "get": _json(
                    "Wait until this site has applied what a token names",
                    _DOCUMENT,
                    parameters=[_query("token", "string", None), _query("timeout", "seconds", 20)],
                    unavailable="The time is over",
                ),
                "post": _post(
                    "As `geosync wait --json`: until other sites have what was written here",
                    sites={"type": ["array", "null"], "items": {"type": "string"}},
                    **_TIMEOUT,
                ),
            },
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _get(
    summary: str,
    *content_types: str,
    parameters: list[JsonObject] | None = None,
    unavailable: str = "",
    schema: JsonObject | None = None,
) -> JsonObject:
    content = {kind: {} if schema is None else {"schema": schema} for kind in content_types}
    responses: JsonObject = {"200": {"description": "Done", "content": content}}
    if unavailable:
        responses["503"] = {"description": unavailable, "content": content}
    return {"summary": summary, "parameters": parameters or [], "responses": responses}


def _json(
    summary: str,
    schema: JsonObject,
    *,
    parameters: list[JsonObject] | None = None,
    unavailable: str = "",
) -> JsonObject:
    kind = "application/json"
    return _get(summary, kind, parameters=parameters, unavailable=unavailable, schema=schema)


def _post(summary: str, **properties: object) -> JsonObject:
    schema: JsonObject = {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name in {"id", "take", "verdict"}],
        "additionalProperties": False,
    }
    return {
        **_json(summary, _DOCUMENT, unavailable="The daemon is busy, or the time is over"),
        "security": _TOKEN,
        "requestBody": {"content": {"application/json": {"schema": schema}}},
    }


def _query(name: str, meaning: str, default: float | None) -> JsonObject:
    schema: JsonObject = {"type": "string" if meaning == "string" else "number"}
    if default is not None:
        schema["default"] = default
    return {"name": name, "in": "query", "required": default is None, "schema": schema}
