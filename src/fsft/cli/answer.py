"""`fsft generate` and `fsft serve`: ask a trained model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fsft.cli.options import JsonOption

if TYPE_CHECKING:
    from fsft.runtime.serve.server import ServerAddress

RunArgument = Annotated[
    Path, typer.Argument(help="A run directory, such as runs/quickstart-1a2b3c4d.")
]


def generate(
    run: RunArgument,
    prompt: Annotated[
        list[str] | None, typer.Option(help="A question; may be given several times.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help='A file of prompts: a line each, or jsonl with "prompt" or "messages".'),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write prompts and answers to this jsonl file."),
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system message for every prompt.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest answer in tokens.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 takes the likeliest token; higher is more varied.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Ask the trained model of a run, one question or a whole file of them."""
    from fsft.recipes.problems import Problem, RecipeError
    from fsft.runtime.run_directory import open_run
    from fsft.runtime.serve import generate as asking

    opened = open_run(run)
    prompts = [asking.text_prompt(text, system) for text in prompt or []]
    if file:
        prompts += asking.read_prompts(file, system)
    if not prompts:
        raise RecipeError(
            Problem(
                reason="there is nothing to ask.", example='--prompt "Who are you?", or --file FILE'
            )
        )
    settings = opened.recipe().evaluate
    answers = asking.generate(
        opened,
        prompts,
        max_new_tokens=max_new_tokens or settings.max_new_tokens,
        batch_size=settings.batch_size,
        temperature=temperature,
    )
    if out:
        asking.write_answers(out, prompts, answers)
        typer.echo(f"Wrote {len(answers)} answers to {out}.")
    elif as_json:
        for item, answer in zip(prompts, answers, strict=True):
            typer.echo(json.dumps({**item.given, "answer": answer}, ensure_ascii=False))
    elif len(answers) == 1:
        typer.echo(answers[0])
    else:
        for item, answer in zip(prompts, answers, strict=True):
            typer.echo(f"> {item.text}\n{answer}\n")


def serve(
    run: RunArgument,
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; by default the recipe's.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port; by default the recipe's.")
    ] = None,
    engine: Annotated[
        Literal["auto", "transformers", "vllm"] | None,
        typer.Option(help="The server; by default the recipe's."),
    ] = None,
) -> None:
    """Serve the trained model of a run with the OpenAI API, until Ctrl-C."""
    from fsft.runtime.run_directory import open_run
    from fsft.runtime.serve import server

    opened = open_run(run)
    settings = opened.recipe().serve
    typer.echo(f"Loading; the log is {opened.logs / 'serve.log'}", err=True)
    server.serve(
        opened,
        host=host or settings.host,
        port=port or settings.port,
        engine=engine or settings.engine,
        on_ready=lambda address: typer.echo(_ready_text(address)),
    )
    typer.echo("Stopped.", err=True)


def _ready_text(address: "ServerAddress") -> str:
    body = {"model": address.model, "messages": [{"role": "user", "content": "Who are you?"}]}
    return (
        f"Ready: {address.url}, model {address.model}. Ctrl-C stops it. Try:\n\n"
        f"curl {address.url}/chat/completions -H 'Content-Type: application/json' \\\n"
        f"  -d '{json.dumps(body)}'\n\n"
        "import openai\n"
        f'client = openai.OpenAI(base_url="{address.url}", api_key="none")\n'
        f"answer = client.chat.completions.create(**{json.dumps(body)})\n"
        "print(answer.choices[0].message.content)\n"
    )
