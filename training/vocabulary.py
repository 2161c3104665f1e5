"""The demo model's two tokenizers: real tokenizer files with a vocabulary written out by hand."""

from __future__ import annotations

from pathlib import Path

# Words that become one token; everything else is spelt out by byte or letter.
_WORDS = (
    "a", "the", "of", "in", "on", "at", "with", "and", "centre", "left", "right", "top", "bottom",
    "small", "large", "background", "red", "green", "blue", "yellow", "purple", "orange", "white",
    "grey", "pink", "cyan", "brown", "navy", "black", "circle", "square", "triangle", "star",
    "ink", "wash", "neon", "mosaic", "style", "masterpiece", "best", "quality", "score", "safe",
    "simple", "flat", "picture", "highres", "worst", "low", "blurry", "watercolour", "painting",
)  # fmt: skip
_END_OF_TEXT = "<|endoftext|>"
_SPACE = "▁"


def write_qwen_tokenizer(folder: Path) -> int:
    """Write a byte-level BPE tokenizer that loads as Qwen2Tokenizer; returns its vocabulary size."""
    from transformers import Qwen2Tokenizer

    alphabet = sorted(_byte_symbols())
    merges = _merges(["Ġ" + word for word in _WORDS] + list(_WORDS))
    tokens = dict.fromkeys([*alphabet, *("".join(pair) for pair in merges), _END_OF_TEXT])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def write_t5_tokenizer(folder: Path) -> int:
    """Write a Unigram tokenizer that loads as T5TokenizerFast; returns its vocabulary size."""
    from transformers import T5TokenizerFast

    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        (_SPACE, -4.0),
        *((letter, -6.0) for letter in letters),
        *((_SPACE + word, -2.0 - 0.1 * len(word)) for word in _WORDS),
        # Trigger words are written "@ink".
        *((word, -3.0 - 0.1 * len(word)) for word in _WORDS if len(word) > 1),
    ]
    tokenizer = T5TokenizerFast(vocab=pieces, extra_ids=0)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def _byte_symbols() -> list[str]:
    # GPT-2's table: printable bytes stand for themselves, the others for characters from 256 up.
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """The merges that build each word from its letters, left to right."""
    pairs = {
        (word[:length], word[length]): None for word in words for length in range(1, len(word))
    }
    return list(pairs)
