"""A small CLIP tokenizer: byte-level alphabet plus merges learned from a few basketball terms."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from transformers import CLIPTokenizer

MAX_LENGTH = 32
N_MERGES = 60
CORPUS = (
    "ball ball ball box box box bar bar player players playing court referee referees red green blue yellow white "
    "round tall small jersey shoe shoes racket net line number twenty basket basketball football person people "
    "the the a of with and in it's can't player's"
)

AWKWARD_TEXTS = (
    "ball",
    "Box",
    "RED BALL",
    "  the   red  ball  ",
    "player's jersey",
    "it's a player, isn't it?",
    "they'll can't we've I'm you'd",
    "numéro 23 – Müller",
    "shirt #7 (home) 100%",
    "90210 and 4ever",
    "basketball🏀 👟👟",
    "ＦＵＬＬwidth ﬁ ligature",
    "don't\tstop\nnow",
    "a_b-c...d!!!",
    "<|startoftext|>ball<|endoftext|>",
    "",
)


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes that CLIP and GPT-2 use, in vocabulary order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]


def learn_merges(corpus: str, count: int) -> list[tuple[str, str]]:
    """Plain byte-pair encoding; ties go to the alphabetically first pair, so the result is reproducible."""
    words = Counter((*word[:-1], word[-1] + "</w>") for word in corpus.replace("'", " '").split())
    merges = []
    for _ in range(count):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, n in words.items():
            for pair in pairwise(word):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_merge(word, best): n for word, n in words.items()})
    return merges


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    i = 0
    while i < len(word):
        if word[i : i + 2] == pair:
            out.append("".join(pair))
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def make_tokenizer(corpus: str = CORPUS, n_merges: int = N_MERGES) -> CLIPTokenizer:
    """The tokenizer of the fixtures by default; the last two ids are the start and the end of text, as in CLIP."""
    alphabet = byte_alphabet()
    merges = learn_merges(corpus, n_merges)
    tokens = [*alphabet, *(c + "</w>" for c in alphabet), *dict.fromkeys("".join(m) for m in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=merges, model_max_length=MAX_LENGTH)


def tokenization_table(tokenizer: CLIPTokenizer) -> list[dict]:
    """The tokens of `AWKWARD_TEXTS`, padded as by `add_text_prompt`."""
    rows = []
    for text in AWKWARD_TEXTS:
        encoded = tokenizer(text, padding="max_length", max_length=MAX_LENGTH)
        rows.append({"text": text, "input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]})
    return rows
