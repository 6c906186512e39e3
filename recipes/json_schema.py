"""The JSON Schema of a recipe, by which editors complete and check it."""

import json
from importlib.resources import files

from fsft.recipes.schema import Recipe

SCHEMA_FILE = "recipe.schema.json"


def recipe_json_schema() -> str:
    """The JSON Schema, generated from the models, as indented JSON."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Recipe.model_json_schema(by_alias=True),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def shipped_json_schema() -> str:
    """The JSON Schema file that ships with fsft."""
    return (files("fsft.recipes") / SCHEMA_FILE).read_text(encoding="utf-8")
