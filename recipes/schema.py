"""The recipe, schema 1: one pydantic model per TOML table.

The text under each field is its description: it becomes the comment above the key in a written
recipe, the description in the JSON Schema, and says the unit. `examples` are shown in messages
about a wrong value.
"""

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticKnownError

from fsft.recipes.units import ByteCount, TokenCount

SCHEMA_VERSION = 1

DataFormat = Literal[
    "messages",
    "sharegpt",
    "alpaca",
    "prompt_answer",
    "turns",
    "preference",
    "kto",
    "seq2seq",
    "m2",
    "text",
    "tokens",
]

SPLITS = ("train", "eval")
"""The keys of [data] that name data sets."""
Compression = Literal["zstd", "gzip", "brotli", "snappy", "lz4"]


def _refuse_lookalikes(value: object) -> object:
    """For Python, but not for TOML, true and 1.0 equal 1."""
    if isinstance(value, bool | float):
        raise PydanticKnownError("int_type")
    return value


_WholeNumber = BeforeValidator(_refuse_lookalikes)

Every = Annotated[int, Field(ge=1)] | Literal["epoch"]
"""Between two times that something is done in training: so many steps, or a pass over the data."""


class Table(BaseModel):
    """What all tables share: unknown keys are errors, values keep their type, nothing changes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Model(Table):
    """The model to start from."""

    path: str | None = Field(default=None, examples=["Qwen/Qwen2.5-0.5B"])
    """A folder in Hugging Face format (relative to the recipe) or a hub id."""
    revision: str | None = Field(default=None, examples=["main"])
    """The hub revision: a branch, a tag or a commit."""
    init: Literal["pretrained", "random"] = Field(default="pretrained", examples=["random"])
    """Where the weights come from: the ones at path, or random ones drawn with the seed."""
    dtype: Literal["float32", "bfloat16"] = Field(default="bfloat16", examples=["bfloat16"])
    """The type that forward and backward compute in; the optimizer keeps float32."""
    attention: Literal[
        "auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"
    ] = Field(default="auto", examples=["sdpa"])
    """The attention kernel; auto is the newest flash-attn installed on a GPU, else sdpa."""
    compile: bool = Field(default=False, examples=[True])
    """Compile each layer with torch.compile; for data parallelism with ZeRO 0 to 2."""
    config: dict[str, JsonValue] | None = Field(
        default=None, examples=['{ model_type = "llama", hidden_size = 256 }']
    )
    """The transformers configuration of a model made from nothing; needs init = "random"."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.config is None):
            raise ValueError("give either path or config, not both and not neither")
        if self.config is not None:
            if self.init != "random":
                raise ValueError('a model made from config has no weights: set init = "random"')
            if not isinstance(self.config.get("model_type"), str):
                raise ValueError('config needs model_type, as in model_type = "llama"')
        return self


class Source(Table):
    """One data set: a file, a folder of files, or a set of the Hugging Face hub."""

    path: str = Field(examples=["data/train.jsonl"])
    """A file, folder, URL, "hub:OWNER/NAME" or "library:NAME"; local paths from the recipe on."""
    subset: str | None = Field(default=None, examples=["en"])
    """The configuration of a hub data set that has several."""
    split: str = Field(default="train", examples=["train"])
    """The split of a hub data set, or of one saved to disk."""
    format: Literal["auto", DataFormat] = Field(default="auto", examples=["alpaca"])
    """The shape of a row; auto looks at the first one and reports what it saw."""
    columns: dict[str, str] = Field(default={}, examples=['{ instruction = "question" }'])
    """Where a field of the shape is called otherwise: the field, and its name in the data."""
    template: str | None = Field(default=None, examples=["vicuna"])
    """A chat template for this set alone, named as in data.template."""
    weight: float = Field(default=1.0, gt=0, le=1000, examples=[0.5])
    """How often a sample is seen in one epoch: 2 shows each twice, 0.5 shows half of them."""
    max_samples: int | None = Field(default=None, ge=1, examples=[1000])
    """Use only the first rows."""
    images: str | None = Field(default=None, examples=["data/images"])
    """The folder that image names are relative to; by default the folder of the file."""


class Tokenizer(Table):
    """A byte-level BPE tokenizer trained from the training data."""

    vocab_size: int = Field(default=2048, ge=259, examples=[2048])
    """The number of token ids, special ones included."""


class Data(Table):
    """What to learn from, and how it becomes token ids."""

    train: list[Source] = Field(min_length=1)
    """The files to train on, in order."""
    eval: list[Source] = Field(default=[])
    """The files to evaluate on."""
    variables: dict[str, str] = Field(default={}, examples=['{ name = "Ada" }'])
    """Words to fill in: {{name}} in the data becomes the value of name."""
    template: str = Field(default="auto", examples=["chatml"])
    """The chat template: auto (the tokenizer's; chatml for a new one), a name, or a .jinja file."""
    sequence_length: int = Field(default=2048, ge=8, examples=[2048])
    """The longest row, in tokens."""
    packing: bool = Field(default=True, examples=[True])
    """Put several samples into one row; they do not see each other."""
    group_by_length: bool = Field(default=False, examples=[True])
    """Compute samples of like length together, so that less is padded; for rows not packed."""
    too_long: Literal["drop", "truncate", "split"] = Field(default="drop", examples=["split"])
    """A sample longer than sequence_length: drop, truncate, or split with half for history."""
    loss_on: Literal["answers", "last", "all"] = Field(default="answers", examples=["last"])
    """Which tokens of a dialogue are learned: every answer, the last one, or all."""
    on_error: Literal["stop", "skip"] = Field(default="stop", examples=["skip"])
    """What happens at a row that cannot be read: stop with its line, or skip and count it."""
    image_max_pixels: int | None = Field(default=None, ge=784, examples=[1003520])
    """Qwen2-VL, Qwen2.5-VL: larger images are made smaller; by default as the model's processor."""
    image_max_tiles: int | None = Field(default=None, ge=1, le=100, examples=[6])
    """InternVL: tiles that an image is cut into at most; by default as the model's processor."""
    tokenizer: Tokenizer | None = Field(default=None, examples=["{ vocab_size = 2048 }"])
    """Train a tokenizer for this run instead of using the model's own."""
    engine: Literal["local", "spark"] = Field(default="local", examples=["spark"])
    """Where data is prepared: on this machine, or by Spark where one is too small; same rows."""
    spark_master: str = Field(default="local[*]", examples=["spark://head:7077"])
    """The Spark cluster, for engine = "spark"."""
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(default="auto", examples=[8])
    """Processes that prepare data; auto is one a core. Rows are the same for any number."""
    compression: Compression = Field(default="zstd", examples=["zstd"])
    """How parquet files of token ids are compressed."""


class Hardware(Table):
    """Where the run takes place. What is not given is detected, or taken from fsft's tables."""

    accelerator: str = Field(default="auto", min_length=1, examples=["H100-80GB-SXM"])
    """The device: a name from `fsft hardware`, cuda, cpu, or auto (a GPU or NPU, else cpu)."""
    nodes: int = Field(default=1, ge=1, examples=[2])
    """Machines that train together."""
    devices_per_node: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto", examples=[2]
    )
    """Processes to start on a machine, one a device; auto is every GPU, or 2 on cpu."""
    memory: ByteCount | None = Field(default=None, examples=["80GB"])
    """Memory of one device, where the table does not know it or is wrong."""
    host_memory: ByteCount | None = Field(default=None, examples=["512GB"])
    """Main memory of one machine."""
    link: str | None = Field(default=None, examples=["NDR"])
    """The link between machines, by name (NDR, 100GbE) or in GB/s a device, one direction."""
    price: float | None = Field(default=None, gt=0, examples=[2.5])
    """What one device costs for an hour, in any currency."""


class Budget(Table):
    """How long to train: exactly one of the three."""

    epochs: float | None = Field(default=None, gt=0, examples=[3])
    """Passes over the training data; the last step is filled up to a whole global batch."""
    tokens: TokenCount | None = Field(default=None, examples=["0.7B"])
    """Tokens to train on, padding not counted."""
    steps: int | None = Field(default=None, gt=0, examples=[1000])
    """Optimizer steps."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.epochs, self.tokens, self.steps)) != 1:
            raise ValueError("give exactly one of epochs, tokens and steps")
        return self


class Method(Table):
    """What is trained."""

    type: Literal["full"] = Field(default="full", examples=["full"])
    """full: every weight."""


class Settled(NamedTuple):
    """How the work is spread, with nothing left open."""

    zero: int
    micro_batch: int
    gradient_accumulation: int
    activation_checkpointing: str
    tensor: int
    pipeline: int
    sequence: int
    expert: int
    offload_optimizer: str
    offload_weights: str

    @property
    def replica_size(self) -> int:
        """Processes that hold one copy of the model among them, and compute the same rows."""
        return self.tensor * self.pipeline * self.sequence

    def global_batch(self, num_processes: int) -> int:
        """Rows in one optimizer step."""
        return self.micro_batch * self.gradient_accumulation * (num_processes // self.replica_size)


class Parallel(Table):
    """How the work is spread.

    Global batch = micro_batch × gradient_accumulation × processes ÷ (tensor × pipeline × sequence).
    "auto" asks the planner; its answer goes to the lock.
    """

    zero: Annotated[Literal[0, 1, 2, 3, "auto"], _WholeNumber] = Field(default=1, examples=[2])
    """DeepSpeed ZeRO stage: 0 nothing, 1 optimizer state, 2 gradients too, 3 weights too."""
    global_batch: int | None = Field(default=None, ge=1, examples=[128])
    """Rows in one optimizer step; needed where gradient_accumulation is auto."""
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(default=1, examples=[4])
    """Rows that one process computes at once; auto is the largest number that fits."""
    gradient_accumulation: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=1, examples=[8]
    )
    """Micro batches that one process adds up before each optimizer step."""
    activation_checkpointing: Literal["none", "selective", "full", "auto"] = Field(
        default="none", examples=["full"]
    )
    """full recomputes all but each layer's input, selective about half; auto: least that fits."""
    activation_checkpointing_every: int = Field(default=1, ge=1, examples=[2])
    """Checkpoint one of so many layers, the first among them; the others keep everything."""
    activation_offload: bool = Field(default=False, examples=[True])
    """Keep the inputs of checkpointed layers in host memory until backward, for long rows."""
    tensor: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(default=1, examples=[2])
    """Processes that divide each weight matrix among them; heads and columns divide by it."""
    pipeline: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(default=1, examples=[2])
    """Stages of layers, a process each, that pass micro batches on; goes with ZeRO 1."""
    pipeline_split: (
        Literal["cost", "measured", "memory"]
        | Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    ) = Field(default="cost", examples=[[4, 4, 3]])
    """Layers of each stage: even in arithmetic, measured time or parameters, or their numbers."""
    pipeline_units: Literal["layers", "halves"] = Field(default="layers", examples=["halves"])
    """halves: a stage may end between a layer's attention and feed-forward; a list counts both."""
    sequence: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(default=1, examples=[2])
    """Processes that divide each row among them, for rows too long for one; heads divide by it."""
    expert: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(default=1, examples=[2])
    """Processes that the experts of each layer are spread over, among those that divide rows."""
    offload_optimizer: Literal["none", "cpu", "nvme", "auto"] = Field(
        default="none", examples=["cpu"]
    )
    """Where the optimizer's states are kept and updated: on the device, or by the host's cores."""
    offload_weights: Literal["none", "cpu", "nvme", "auto"] = Field(
        default="none", examples=["cpu"]
    )
    """Where weights wait until they are computed with; follows the optimizer, needs ZeRO 3."""
    offload_path: str | None = Field(default=None, min_length=1, examples=["/local_nvme"])
    """A folder on a fast local disk of each machine, for nvme; a run leaves nothing there."""

    @model_validator(mode="after")
    def _path_where_needed(self) -> Self:
        if "nvme" in (self.offload_optimizer, self.offload_weights) and self.offload_path is None:
            raise ValueError(
                'offloading to "nvme" needs offload_path, as in offload_path = "/local_nvme"'
            )
        return self

    @model_validator(mode="after")
    def _checkpointing_where_needed(self) -> Self:
        if self.activation_checkpointing == "none":
            for key in ("activation_checkpointing_every", "activation_offload"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(
                        f'{key} needs activation_checkpointing, as in "full"; it is "none"'
                    )
        return self

    @model_validator(mode="after")
    def _global_batch_where_needed(self) -> Self:
        if self.gradient_accumulation == "auto" and self.global_batch is None:
            raise ValueError(
                'gradient_accumulation = "auto" needs global_batch, as in global_batch = 128'
            )
        return self

    @property
    def open_keys(self) -> list[str]:
        """The keys that the planner is asked for."""
        return [name for name in Settled._fields if getattr(self, name) == "auto"]

    @property
    def settled(self) -> Settled:
        """The numbers; raises ValueError where the planner has not been asked yet."""
        if self.open_keys:
            raise ValueError(f"the planner has not answered {', '.join(self.open_keys)}")
        return Settled(*(getattr(self, name) for name in Settled._fields))


class Optimizer(Table):
    """AdamW and its learning rate."""

    learning_rate: float = Field(gt=0, examples=[2e-5])
    """The peak learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = Field(default="cosine", examples=["linear"])
    """How the learning rate goes on after warmup; cosine and linear end at 0."""
    warmup: float = Field(default=0.03, ge=0, lt=1, examples=[0.03])
    """The share of all steps in which the learning rate rises from 0."""
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=[0.9, 0.95], min_length=2, max_length=2, examples=[[0.9, 0.95]]
    )
    """Decay of the first and the second moment."""
    eps: float = Field(default=1e-8, gt=0, examples=[1e-8])
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.0, ge=0, examples=[0.1])
    """Decoupled weight decay; norms and biases have none."""
    clip: float = Field(default=1.0, ge=0, examples=[1.0])
    """The largest gradient norm; 0 switches clipping off."""


class Checkpoint(Table):
    """What is kept to go on from."""

    every: Every = Field(default=500, examples=[500])
    """Steps between checkpoints, or "epoch"; one is always saved at the end and on a stop."""
    keep_last: int = Field(default=2, ge=1, examples=[2])
    """Checkpoints kept; older ones are deleted once a newer one is whole."""
    keep_best: bool = Field(default=False, examples=[True])
    """Save whenever the eval loss is the lowest so far, and keep that one besides; needs eval."""
    weights_only: bool = Field(default=False, examples=[True])
    """Leave out the optimizer: enough to convert, not to go on from; one on a stop holds all."""
    background: bool = Field(default=True, examples=[True])
    """Write while training goes on, from a copy in host memory as large as the checkpoint."""


class Convert(Table):
    """The folder in Hugging Face format."""

    checkpoint: Literal["newest", "best"] = Field(default="newest", examples=["best"])
    """What is converted: the newest, or that of the lowest eval loss (checkpoint.keep_best)."""
    dtype: Literal["float32", "bfloat16"] = Field(default="bfloat16", examples=["bfloat16"])
    """The type of the stored weights."""
    max_shard_size: ByteCount = Field(default=5_000_000_000, examples=["5GB"])
    """The largest safetensors file, in bytes."""


class Evaluate(Table):
    """What the model shows: its eval loss during training, and the trained model's answers."""

    every: Every | None = Field(default=None, examples=[100])
    """Steps between eval losses, or "epoch"; by default as checkpoint.every. For data.eval."""
    patience: int | None = Field(default=None, ge=1, examples=[3])
    """Eval losses in a row that are not the lowest, after which training ends; by default never."""
    split: Literal["train", "eval"] = Field(default="train", examples=["eval"])
    """The data whose questions are asked."""
    max_samples: int = Field(default=200, ge=0, examples=[200])
    """The number of questions, from the start of the data; 0 asks none."""
    max_new_tokens: int = Field(default=128, ge=1, examples=[128])
    """The longest answer, in tokens."""
    batch_size: int = Field(default=32, ge=1, examples=[32])
    """Questions answered at once."""
    samples: int = Field(default=4, ge=0, examples=[4])
    """Questions whose answers before and after training the report sets side by side."""


class Serve(Table):
    """The server that `fsft serve` starts."""

    engine: Literal["auto", "transformers", "vllm"] = Field(default="auto", examples=["vllm"])
    """auto is vllm where it is installed, else transformers."""
    host: str = Field(default="127.0.0.1", examples=["127.0.0.1"])
    """The address to listen on; the default is reachable from this machine alone."""
    port: int = Field(default=8000, ge=1, le=65535, examples=[8000])
    """The port to listen on."""


class Recipe(Table):
    """A fine-tuning run, written down."""

    schema_: Annotated[Literal[1], _WholeNumber] = Field(alias="schema", examples=[1])
    """The version of the recipe format."""
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, examples=["qwen2.5-7b-law"]
    )
    """A short name; the run directory and the served model are called after it."""
    description: str = Field(default="", examples=["What this run is for"])
    """What the run is for, for the people who read it."""
    seed: int = Field(default=1234, ge=0, le=2**31 - 1, examples=[1234])
    """Everything random is drawn from it: weights, data order."""
    model: Model
    data: Data
    hardware: Hardware = Hardware()
    budget: Budget
    method: Method = Method()
    parallel: Parallel = Parallel()
    optimizer: Optimizer
    checkpoint: Checkpoint = Checkpoint()
    convert: Convert = Convert()
    evaluate: Evaluate = Evaluate()
    serve: Serve = Serve()

    @model_validator(mode="after")
    def _compiles_what_can_be_compiled(self) -> Self:
        if not self.model.compile:
            return self
        parallel = self.parallel
        in_the_way = [
            f"parallel.{name} = {value!r}"
            for name, value in (
                ("zero", parallel.zero if parallel.zero in {3, "auto"} else 1),
                ("tensor", parallel.tensor),
                ("pipeline", parallel.pipeline),
                ("sequence", parallel.sequence),
                ("expert", parallel.expert),
            )
            if value != 1
        ]
        if parallel.activation_checkpointing in {"selective", "auto"}:
            in_the_way.append(
                f"parallel.activation_checkpointing = {parallel.activation_checkpointing!r}"
            )
        if parallel.activation_offload:
            in_the_way.append("parallel.activation_offload")
        if in_the_way:
            raise ValueError(f"model.compile does not go with {', '.join(in_the_way)}")
        return self

    @model_validator(mode="after")
    def _attention_sees_whole_rows(self) -> Self:
        if self.model.attention == "flex_attention" and self.parallel.sequence != 1:
            raise ValueError(
                'model.attention = "flex_attention" does not go with parallel.sequence: '
                "its masks are made for whole rows"
            )
        return self


def to_document(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain TOML values, defaults included; keys that are not set are left out."""
    return recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
