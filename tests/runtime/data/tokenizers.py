"""Small tokenizers of the kinds that there are."""

from functools import cache
from typing import Any

from fsft.runtime.data.text_tokenizer import TextTokenizer, text_tokenizer_of
from fsft.runtime.data.tokenizer import template_text, train_tokenizer

TEXTS = [
    "Who are you? I am Fero, and it's 12:30.\n\n  def f(x):\n\treturn x ** 2",
    "你是谁？我是助手。 naïve café 😀",
    "system user assistant",
] * 4


@cache
def byte_level() -> TextTokenizer:
    """Byte-level BPE with the chatml template, as Qwen and Llama 3 have."""
    made = train_tokenizer(iter(TEXTS), 400, template_text("chatml"))
    made.chat_template = template_text("chatml")
    return text_tokenizer_of(made)


@cache
def sentencepiece() -> TextTokenizer:
    """BPE over characters with ▁ for spaces and bytes for what is unknown, as Llama 2 has."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    made: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    return text_tokenizer_of(made)


@cache
def normalizing() -> TextTokenizer:
    """Byte-level BPE that first changes the text to its compatibility form."""
    from tokenizers import normalizers

    made = train_tokenizer(iter(TEXTS), 400, template_text("chatml"))
    made.backend_tokenizer.normalizer = normalizers.NFKC()
    return text_tokenizer_of(made)


KINDS = {"byte_level": byte_level, "sentencepiece": sentencepiece, "normalizing": normalizing}
