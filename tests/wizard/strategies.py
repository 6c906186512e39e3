"""Whatever somebody may type into the wizard, and recipes that it may open."""

from pathlib import Path

from hypothesis import strategies as st

from fsft.recipes.hardware.detect import Device, Machine
from fsft.wizard.draft import Draft, Opened
from fsft.wizard.facts import DataFacts, Facts
from fsft.wizard.questions import QUESTIONS

NO_GPU = Facts(Machine((), num_cores=8, host_memory=64e9, free_disk=1e12))
TWO_H100 = Facts(
    Machine(
        (Device("NVIDIA H100 80GB HBM3", 85e9),) * 2,
        num_cores=64,
        host_memory=1e12,
        free_disk=1e13,
    ),
    data=DataFacts(num_rows=1000.0, num_tokens=250_000.0),
)
ODD_GPU = Facts(
    Machine((Device("Nobody X1", 16e9),), num_cores=4, host_memory=32e9, free_disk=1e11),
    data=DataFacts(trouble="nothing could be read"),
)
FACTS = st.sampled_from([NO_GPU, TWO_H100, ODD_GPU])

ODD_TEXT = (
    *("auto", "yes", "no", "none", "full", "-", "0", "1", "2", "3", "8", "64", "-1", "1.0", "1e3"),
    *("0.5", "1e308", "-1e308", "1e-320", "nan", "inf", "-inf", "9" * 30, str(2**63), "9" * 5000),
    *(
        "0x10",
        "1_000",
        "true",
        "1979-05-27",
        "[1]",
        "{ a = 1 }",
        '"x"',
        "1 # one",
        "1\nb = 2",
        "~nobody-at-all/x.jinja",
    ),
    *(
        "0.7B",
        "80GB",
        "80 GiB",
        "2T",
        "12h",
        "2d",
        "h",
        "NDR",
        "100GbE",
        "300",
        "H100",
        "A100-40GB",
    ),
    *("A100-80GB-SXM", "RTX4090", "cpu", "cuda", "qwen2.5-7b", "Qwen/Qwen2.5-0.5B", "gpt2"),
    *("nobody/nothing", "quickstart", "made from model.config", "library:identity.jsonl"),
    *("library:", "library:identity.jsonl, library:about_fsft.jsonl", "library:../../x.jsonl"),
    *(
        "/",
        "..",
        "/dev/null",
        "/proc/self/mem",
        "/nowhere/at/all.jsonl",
        "~",
        "~nobody-at-all/x",
        "~/x",
    ),
    *(
        ",",
        ", ,",
        "a,b",
        "a.jsonl\0",
        "\0",
        "\x1b[31m",
        "\ud800",
        "é",
        "漢字",
        "🦙" * 50,
        "x" * 9000,
    ),
    *("chatml", "x.jinja", "\\", '"', "'''", "]", "= 1", "eval", "train", "random", "float32"),
)
TEXTS = st.one_of(
    st.sampled_from(ODD_TEXT),
    st.text(max_size=20),
    st.integers(-(10**6), 10**6).map(str),
    st.integers(1, 4096).map(str),
    st.floats().map(str),
)
KEYS = st.sampled_from([question.key for question in QUESTIONS])
FITTING = st.sampled_from(QUESTIONS).flatmap(
    lambda question: st.tuples(
        st.just(question.key), st.sampled_from(question.choices or ODD_TEXT[:20])
    )
)
CHANGES = st.lists(st.one_of(st.tuples(KEYS, TEXTS), FITTING), max_size=6)
"""Answers in the order in which they are typed."""

ODD_RECIPES = (
    "",
    "schema = 1\n",
    "model = 5\ndata = 'x'\nbudget = []\nparallel = true\nhardware = 1.5\n",
    "[data]\ntrain = 5\neval = [1, 'x', []]\n[model]\npath = 7\nconfig = 'x'\n",
    "[data]\ntrain = [{ path = ['x'] }, { format = 'text' }]\n[budget]\nepochs = 1\nsteps = 'x'\n",
    "[[data.train]]\npath = 5\n[[data.eval]]\n[data.variables]\na = 1\n[model]\nconfig = {}\n",
    "name = 5\nseed = -1\nnothing = 1\n[nobody]\nx = 1\n[model.config]\nmodel_type = 'lama'\n",
    "model.path = 'gpt2'\nbudget = { epochs = 3 }\noptimizer.learning_rate = 'fast'\n",
    'model.path = "\\u0000"\ndata.train = [{ path = "\\u0000" }]\n',
    "[parallel]\nglobal_batch = 9223372036854775807\nmicro_batch = 9223372036854775807\n"
    "[hardware]\nnodes = 9223372036854775807\ndevices_per_node = 9223372036854775807\n",
)


def opened(text: str) -> Draft:
    """A draft that opened this recipe, in a folder that is not there."""
    return Draft(opened=Opened(Path("/nowhere/at/all/opened.toml"), text))


def typed(draft: Draft, changes: list[tuple[str, str]]) -> Draft:
    """The draft after all changes."""
    for key, text in changes:
        draft = draft.answer(key, text)
    return draft
