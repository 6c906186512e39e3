"""The report stage: report.json, report.md, report.html and the loss curve."""

import json
from dataclasses import asdict
from typing import Any

from fsft import __version__
from fsft.recipes.events import read_events
from fsft.recipes.lock import expected_of
from fsft.recipes.units import format_count, format_duration, format_gib
from fsft.runtime.context import StageContext
from fsft.runtime.report.facts import ReportFacts, report_facts
from fsft.runtime.report.plot import plot_loss
from fsft.runtime.run_directory import replacing_folder, write_json, write_text


def write_report(context: StageContext) -> str:
    """Write all of the report's files; returns a summary."""
    facts = _gather(context)
    with replacing_folder(context.run.report) as folder:
        write_json(folder / "report.json", asdict(facts))
        plot_loss(facts.loss_curve, [folder / "loss.png", folder / "loss.svg"], facts.eval_curve)
        curve = (folder / "loss.svg").read_text(encoding="utf-8")
        write_text(folder / "report.md", render("report.md.jinja", facts))
        html = render("report.html.jinja", facts, curve=curve[curve.index("<svg") :])
        write_text(folder / "report.html", html)
    mfu = "" if facts.mfu is None else f", MFU {facts.mfu:.0%}"
    return f"{facts.tokens_per_second:,.0f} tokens/s{mfu}, final loss {facts.final_loss:.4f}"


def render(template: str, facts: ReportFacts, **values: Any) -> str:
    """A template of this package filled in; what goes into html is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("fsft.runtime.report"),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": format_count,
        "duration": format_duration,
        "gib": format_gib,
        "cell": _table_cell,
    }
    return environment.get_template(template).render(facts=facts, **values)


def _gather(context: StageContext) -> ReportFacts:
    run = context.run
    return report_facts(
        list(read_events(run.events_file)),
        name=context.recipe.name,
        description=context.recipe.description,
        fsft_version=__version__,
        stage_seconds={name: stage.seconds for name, stage in run.finished_stages().items()},
        data=json.loads(run.data_info.read_text(encoding="utf-8")),
        evaluation=json.loads(run.evaluation.read_text(encoding="utf-8")),
        planned=expected_of(run.lock_file),
    )


def _table_cell(text: str) -> str:
    """Text that stays within one cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
