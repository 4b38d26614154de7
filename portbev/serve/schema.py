"""The form of a request and of an answer: as classes that read them, as JSON schema, and as an OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from portbev.boxes import BOX_FIELDS
from portbev.serve.body import REQUEST
from portbev.serve.inputs import is_picture

if TYPE_CHECKING:
    from portbev.export import interface

_FILE: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "contentEncoding": "base64", "description": "the file's bytes"},
        {
            "type": "object",
            "properties": {"part": {"type": "string", "minLength": 1}},
            "required": ["part"],
            "additionalProperties": False,
            "description": "the name of a part of the multipart body",
        },
    ]
}


class Asking(BaseModel):
    """A request: the inputs of one sample, and what to do with its boxes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="Request")

    inputs: dict[str, Any]
    token: str = Field("", max_length=200, description="A name for the sample, which the answer repeats.")
    min_score: float = Field(0.0, ge=0, le=1, description="Boxes with a lower score are left out.")


class AskingInStream(Asking):
    """A request to a model that remembers earlier frames."""

    session: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9._~-]+$",
        description="A name for the stream, chosen by the client, whose frames are sent in order and one at a time. "
        "Without it the frame stands alone.",
    )
    continues: bool | None = Field(
        None,
        description="true: refuse the frame (409) unless the one before it is remembered. false: begin the stream "
        "anew. Left out: go on where the stream is known, begin it where it is not; the answer says which it was.",
    )


class InStream(BaseModel):
    """Where in its stream a frame was: frame 1 has no history."""

    session: str
    frame: int = Field(ge=1)


class Answer(BaseModel):
    """The boxes of one sample, the best first as the model gave them."""

    token: str = Field(description="As in the request.")
    boxes: list[list[float]] = Field(description=f"Per box: {', '.join(BOX_FIELDS)} [m, rad, m/s]; z is the centre.")
    scores: list[float]
    classes: list[str]
    frame: str = Field(description="The frame of coordinates that the boxes are in.")
    left_out: dict[str, int] = Field(description="Why boxes were left out, and how many; empty where none was.")
    stream: InStream | None = Field(description="null where frames stand alone.")


class Wrong(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="The line: what is wrong, where, and the cure.")
    what: str
    where: str
    cure: str
    status: int


def asking(temporal: bool) -> type[Asking]:
    """What reads requests to a model."""
    return AskingInStream if temporal else Asking


def request_schema(fields: Sequence[interface.Field], *, temporal: bool) -> dict[str, Any]:
    """The JSON schema (2020-12) of a request."""
    schema = asking(temporal).model_json_schema()
    schema.pop("title", None)
    schema["properties"]["inputs"] = {
        "type": "object",
        "description": "The arrays of one sample.",
        "properties": {field.name: _field_schema(field) for field in fields},
        "required": [field.name for field in fields if not field.optional],
        "additionalProperties": False,
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Request", **schema}


def _field_schema(field: interface.Field) -> dict[str, Any]:
    """A field's value: files in lists for pictures, lists of numbers or an .npy file for others."""
    sides = " x ".join("any" if side is None else str(side) for side in field.shape)
    said = f"{field.meaning} ({field.dtype}, {sides or 'one number'}"
    said += f", in {field.unit}" if field.unit else ""
    said += f", {field.frame})" if field.frame else ")"
    if is_picture(field):
        height, width = ("any" if side is None else side for side in field.shape[-3:-1])
        said += f". Each picture is a JPEG or PNG of {width} x {height} pixels"
        return {"description": said, **_nested(_FILE, field.shape[:-3])}
    number = {"type": "number" if field.dtype.startswith("float") else "integer"}
    forms = [*_FILE["anyOf"]] if field.dtype.startswith("complex") else [_nested(number, field.shape), *_FILE["anyOf"]]
    return {"description": f"{said}. Lists of numbers, or an .npy file", "anyOf": forms}


def _nested(inner: dict[str, Any], shape: Sequence[int | None]) -> dict[str, Any]:
    for side in reversed(shape):
        inner = {"type": "array", "items": inner}
        if side is not None:
            inner |= {"minItems": side, "maxItems": side}
    return inner


def openapi(fields: Sequence[interface.Field], *, temporal: bool, name: str, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a server."""
    request = request_schema(fields, temporal=temporal)
    request.pop("$schema")
    answer = Answer.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = {"Request": request, "Wrong": Wrong.model_json_schema(), **answer.pop("$defs", {}), "Answer": answer}
    multipart = {
        "type": "object",
        "properties": {REQUEST: _ref("Request")},
        "required": [REQUEST],
        "additionalProperties": {"type": "string", "contentMediaType": "application/octet-stream"},
        "description": f"The JSON as part {REQUEST!r}; the files that it names are the other parts.",
    }
    predict = {
        "summary": "The boxes of one sample",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("Request")}, "multipart/form-data": {"schema": multipart}},
        },
        "responses": {"200": _json("The boxes", _ref("Answer")), **_refusals(temporal)},
    }
    paths: dict[str, Any] = {"/predict": {"post": predict}}
    for path, said in _READ.items():
        paths[path] = {"get": {"summary": said, "responses": {"200": {"description": said}}}}
    if temporal:
        paths["/sessions/{session}"] = {"delete": _FORGET}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"portbev serve: {name}", "version": version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


_READ = {
    "/health": "Whether requests are taken: 200, or 503 while the server stops or where the device has failed",
    "/metadata": "What is served: model, weights, classes, inputs, limits",
    "/schema": "JSON schema of a request",
    "/openapi.json": "This document",
    "/metrics": "Counters and times in Prometheus' text format",
}
_FORGET: dict[str, Any] = {
    "summary": "Forget a stream",
    "parameters": [{"name": "session", "in": "path", "required": True, "schema": {"type": "string"}}],
    "responses": {"204": {"description": "Forgotten"}, "404": {"description": "There is none of that name"}},
}
_REFUSALS = {
    400: "Broken JSON or multipart body",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "Neither JSON nor multipart",
    422: "Content that cannot be used",
    500: "The model failed",
    503: "The queue is full, or the server stops: try again after Retry-After seconds",
    504: "No answer in time",
}


def _refusals(temporal: bool) -> dict[str, Any]:
    said = _REFUSALS | ({409: "The stream is busy, or its history is not remembered"} if temporal else {})
    return {str(status): _json(text, _ref("Wrong")) for status, text in sorted(said.items())}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
