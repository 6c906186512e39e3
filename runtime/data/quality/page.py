"""The quality of data as one page of html that needs no other file."""

from pathlib import Path

from fsft.runtime.data.quality.draw import quality_svg
from fsft.runtime.data.quality.result import Quality


def quality_page(quality: Quality, title: str) -> str:
    """The page: figures, picture, tables of examples."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        title=title,
        quality=quality,
        summary=quality.summary(),
        picture=quality_svg(quality),
    )
