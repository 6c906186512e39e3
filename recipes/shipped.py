"""The recipes, data and chat templates that come with fsft."""

from importlib.resources import files
from pathlib import Path

from fsft.recipes.problems import Problem, RecipeError, Refused

LIBRARY_PREFIX = "library:"


def shipped_recipes() -> dict[str, Path]:
    """Name to file of every shipped recipe, sorted by name."""
    return {path.stem: path for path in sorted(library_folder().glob("*.toml"))}


def shipped_templates() -> dict[str, Path]:
    """Name to file of every shipped chat template, sorted by name."""
    return {path.stem: path for path in sorted((library_folder() / "templates").glob("*.jinja"))}


def shipped_data() -> list[str]:
    """What a recipe calls the shipped data files, sorted."""
    folder = library_folder() / "data"
    return sorted(LIBRARY_PREFIX + path.name for path in folder.iterdir() if path.is_file())


def find_recipe(name_or_path: str) -> Path:
    """The file of a recipe given as a path or as the name of a shipped one."""
    path = Path(name_or_path)
    if path.suffix == ".toml" or is_file(path):
        return path
    shipped = shipped_recipes()
    if name_or_path not in shipped:
        raise RecipeError(
            Problem(
                reason=f"`{name_or_path}` is neither a recipe file nor a shipped recipe.",
                example=f"the shipped ones are {', '.join(shipped)}",
            )
        )
    return shipped[name_or_path]


def resolve_path(text: str, recipe_folder: Path) -> Path:
    """A path in a recipe: "library:NAME" ships with fsft, all else is relative to the recipe.

    Raises Refused when the text cannot be a path.
    """
    if text.startswith(LIBRARY_PREFIX):
        recipe_folder, text = library_folder() / "data", text.removeprefix(LIBRARY_PREFIX)
    try:
        return (recipe_folder / Path(text).expanduser()).resolve()
    except (RuntimeError, ValueError, OSError) as error:
        # Python tells of a link that leads to itself by a RuntimeError.
        why = "it is a link to itself" if "Symlink loop" in str(error) else str(error)
        raise Refused(Problem(reason=f"{text!r} cannot be a path: {why}.")) from None


def is_file(path: Path) -> bool:
    """Whether there is such a file; what cannot be looked at counts as absent."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; what cannot be looked at counts as absent."""
    try:
        return path.is_dir()
    except OSError:
        return False


def library_folder() -> Path:
    """The folder of shipped recipes; fsft installs unpacked, so it is a real folder."""
    return Path(str(files("fsft.recipes") / "library"))
