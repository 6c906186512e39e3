"""One turn of a dialogue: its role, its text and what else chat templates know of it."""

from collections.abc import Mapping
from typing import Any

from fsft.runtime.data.sample import IMAGE_TAG, Message
from fsft.runtime.data.shapes.fields import as_list, as_text, from_json, has, kind
from fsft.runtime.data.shapes.images import part_image

_REASONING = ("reasoning_content", "reasoning", "thinking")
_WEIGHTS = ("weight", "loss_weight")
_IMAGE_PARTS = ("image", "image_url")


def turn(role: str, content: str) -> Message:
    """A plain turn."""
    return {"role": role, "content": content}


def read_turn(
    value: Any, number: int, *, keys: tuple[str, str], roles: Mapping[str, str]
) -> tuple[Message, list[str]]:
    """The turn in an object, and the images that its parts name.

    `keys` are the names of its role and its text, `roles` what the roles are called in fsft.
    """
    role_key, content_key = keys
    if not has(value, role_key):
        raise ValueError(f"turn {number} needs {role_key} and {content_key}")
    role = value[role_key]
    if not isinstance(role, str) or role not in roles:
        raise ValueError(f"turn {number} has the unknown role {role!r}; known: {', '.join(roles)}")
    message: Message = {"role": roles[role], "content": ""}
    calls = tool_calls(value["tool_calls"], number) if has(value, "tool_calls") else []
    images: list[str] = []
    if has(value, content_key):
        images = _read_content(value[content_key], f"{content_key} of turn {number}", message)
    elif not calls:
        raise ValueError(f"turn {number} needs {role_key} and {content_key}")
    if calls:
        message["tool_calls"] = calls
    for name in ("tool_call_id", "name"):
        if has(value, name):
            message[name] = as_text(value[name], f"{name} of turn {number}")
    for name in _REASONING:
        if has(value, name):
            message["reasoning_content"] = as_text(value[name], f"{name} of turn {number}")
    for name in _WEIGHTS:
        if has(value, name):
            message["weight"] = _weight(value[name], f"{name} of turn {number}")
    return message, images


def tool_calls(value: Any, number: int) -> list[dict[str, Any]]:
    """Calls as chat templates take them: arguments are objects, not JSON in a text."""
    value = from_json(value, f"tool_calls of turn {number}")
    calls = as_list(value, f"tool_calls of turn {number}")
    return [_tool_call(call, f"call {n} of turn {number}") for n, call in enumerate(calls, 1)]


def tool_list(value: Any) -> tuple[dict[str, Any], ...]:
    """The tools of a dialogue: JSON Schemas, as a list or as JSON in a text; bare ones wrapped."""
    if value is None or value == "":
        return ()
    tools = as_list(from_json(value, "tools"), "tools")
    for number, tool in enumerate(tools, 1):
        schema = tool.get("function", tool) if isinstance(tool, Mapping) else {}
        if not has(schema, "name"):
            raise ValueError(f"tool {number} must be an object with a name")
        as_text(schema["name"], f"the name of tool {number}")
    return tuple(
        dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)}
        for tool in tools
    )


def _tool_call(value: Any, what: str) -> dict[str, Any]:
    function = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(function, Mapping) or not has(function, "name"):
        raise ValueError(f"{what} must be an object with the name of a function")
    arguments = function.get("arguments")
    if arguments is None or arguments == "":
        arguments = {}
    arguments = from_json(arguments, f"arguments of {what}")
    if not isinstance(arguments, Mapping):
        raise ValueError(f"arguments of {what} must be an object, not {kind(arguments)}")
    called = {
        "type": "function",
        "function": {
            "name": as_text(function["name"], f"the name of {what}"),
            "arguments": dict(arguments),
        },
    }
    if has(value, "id"):
        called["id"] = as_text(value["id"], f"id of {what}")
    return called


def _read_content(value: Any, what: str, message: Message) -> list[str]:
    """Put text and reasoning of a turn into `message`; the images among its parts."""
    if isinstance(value, str):
        message["content"] = value
        return []
    if not isinstance(value, list | tuple):
        raise ValueError(f"{what} must be text or a list of parts, not {kind(value)}")
    images: list[str] = []
    texts: dict[str, list[str]] = {"text": [], "reasoning": []}
    for number, part in enumerate(value, start=1):
        where = f"part {number} of {what}"
        if not has(part, "type") or not isinstance(part["type"], str):
            raise ValueError(f"{where} must be an object with a type")
        if part["type"] in _IMAGE_PARTS:
            texts["text"].append(IMAGE_TAG)
            images.append(part_image(part, where))
        elif part["type"] in texts:
            texts[part["type"]].append(as_text(part.get("text", part.get("value")), where))
        else:
            raise ValueError(f"{where} has the unknown type {part['type']!r}")
    message["content"] = "".join(texts["text"])
    if texts["reasoning"]:
        message["reasoning_content"] = "".join(texts["reasoning"])
    return images


def _weight(value: Any, what: str) -> int:
    if isinstance(value, int | float) and value in (0, 1):
        return int(value)
    shown = f"{value}"[:20] if isinstance(value, int | float) else kind(value)
    raise ValueError(f"{what} must be 0 (not learned) or 1 (learned), not {shown}")
