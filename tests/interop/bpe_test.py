#!/usr/bin/env python3
"""bpe_test.py BPE_TOOL: the tokenizer against tiktoken and tokenizers, on mixed Unicode text, every id.

DD_CPU_BPE names the real GPT-2 vocabulary (a directory); without it, only vocabularies that are trained here are
tested. DD_LONG=1: 10 MB of text instead of 1."""
import base64
import json
import os
import random
import sys
import tempfile
from bpe_texts import ALL, difference, mixed, ours, tool

try:
    import tiktoken
    import tokenizers
    from tokenizers import ByteLevelBPETokenizer, Regex, Tokenizer, pre_tokenizers
except ImportError as e:
    print(f"skipped: {e} (requirements: tests/interop/requirements.txt)")
    sys.exit(77)

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SIZE = 10_000_000 if os.environ.get("DD_LONG") else 1_000_000
passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    if not good:
        print(f"FAILED {name} {detail}")


# ---- oracles ----

def as_tiktoken(ranks):
    return tiktoken.Encoding("test", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


def write_ranks(path, ranks):
    with open(path, "w") as f:
        for token, rank in sorted(ranks.items(), key=lambda x: x[1]):
            f.write(f"{base64.b64encode(token).decode()} {rank}\n")


def ids_of(oracle, text):
    """`tokenizers` in parts: some versions take time that grows with the square of the text."""
    ids, at = [], 0
    while at < len(text):
        end = at + 100_000
        while end < len(text) and not (text[end - 1].isascii() and text[end - 1].isalpha() and text[end] == " "):
            end += 1
        ids += oracle.encode(text[at:end]).ids
        at = end
    return ids




def our_class(letter_like):
    """Characters that make one word with those before: letter_like + c is one word."""
    text = "".join(letter_like + c + "\n" for c in ALL if c not in "\n")
    lengths = [int(x) for x in tool(["words"], text.encode()).split()]
    joined, at = set(), 0
    data = text.encode()
    first = len(letter_like.encode())
    starts = iter(lengths)
    for c in ALL:
        if c == "\n":
            continue
        n, got = len(c.encode()) + first + 1, []
        while sum(got) < n:
            got.append(next(starts))
        if sum(got) != n:  # white space reaches into the next line: not joined, put the rest back
            rest = sum(got) - n
            starts = iter([rest] + list(starts))
        elif got[0] == n - 1:
            joined.add(c)
        at += n
    assert at == len(data)
    return joined


def tiktoken_class(pattern):
    e = tiktoken.Encoding("class", pat_str=pattern, mergeable_ranks={bytes([i]): i for i in range(256)},
                          special_tokens={})
    return set(e.decode_bytes(e.encode_ordinary("".join(ALL))).decode())


def test_text(name, files, text, oracles):
    data = text.encode()
    for path in files:
        got = ours(path, data)
        for label, want in oracles:
            check(f"{name} {os.path.basename(path)} {label}", got == want, difference(got, want))
        raw = b"".join(bytes((i & 255, i >> 8)) for i in got)
        check(f"{name} {os.path.basename(path)} decodes to its text", tool(["decode", path], raw) == data)


def pre_tokenizer_version(known_letters):
    """Letters and digits that an older `tokenizers` does not know are symbols to it: leave them out for it."""
    split = pre_tokenizers.Split(Regex(r"[\p{L}\p{N}]"), behavior="removed", invert=True)
    seen = set()
    for i in range(0, len(known_letters), 4096):
        seen |= set("".join(x for x, _ in split.pre_tokenize_str("".join(known_letters[i:i + 4096]))))
    return seen


def main():
    rng = random.Random(1)
    text = mixed(rng, SIZE)

    # Unicode classes, all code points, against tiktoken's.
    letters, numbers = tiktoken_class(r"\p{L}"), tiktoken_class(r"\p{N}")
    check("letters are tiktoken's", our_class("a") == letters, str(len(our_class("a") ^ letters)))
    check("numbers are tiktoken's", our_class("1") == numbers, str(len(our_class("1") ^ numbers)))
    check("symbols are tiktoken's", our_class("!") == tiktoken_class(r"[^\s\p{L}\p{N}]"))

    # What an older `tokenizers` classes otherwise is not given to it.
    newer = (letters | numbers) - pre_tokenizer_version(sorted(letters | numbers))
    hf_text = "".join(c for c in text if c not in newer)
    print(f"# tiktoken {tiktoken.__version__}, tokenizers {tokenizers.__version__} (classes {len(newer)} letters and "
          f"digits otherwise), {len(text.encode())} bytes")

    with tempfile.TemporaryDirectory() as tmp:
        # A vocabulary trained here, in each of the forms.
        hf = ByteLevelBPETokenizer()
        hf.train_from_iterator([mixed(random.Random(2), 300_000), "low lower lowest newer newest wider " * 2000],
                               vocab_size=4000, min_frequency=2, special_tokens=["<|endoftext|>", "<pad>"])
        hf.save_model(tmp)
        hf.save(os.path.join(tmp, "one.json"))
        model = json.load(open(os.path.join(tmp, "one.json")))
        os.mkdir(os.path.join(tmp, "pairs"))
        model["model"]["merges"] = [m.split(" ") if isinstance(m, str) else m for m in model["model"]["merges"]]
        json.dump(model, open(os.path.join(tmp, "pairs", "tokenizer.json"), "w"))
        # Without special tokens: `tokenizers` would find them in the text.
        oracle = ByteLevelBPETokenizer(os.path.join(tmp, "vocab.json"), os.path.join(tmp, "merges.txt"))
        files = [tmp, os.path.join(tmp, "one.json"), os.path.join(tmp, "pairs")]
        test_text("trained", files, hf_text, [("tokenizers", ids_of(oracle, hf_text))])

        # Any tokens as ranks, also such that no merges would give.
        tokens = {bytes([i]) for i in range(256)}
        data = text.encode()
        while len(tokens) < 3000:
            at = rng.randrange(len(data))
            tokens.add(data[at:at + rng.randint(2, 6)])
        order = sorted(tokens, key=len)
        ranks = {t: i for i, t in enumerate(order[:256])}
        rest = order[256:]
        rng.shuffle(rest)
        ranks.update({t: 256 + i for i, t in enumerate(rest)})
        path = os.path.join(tmp, "any.tiktoken")
        write_ranks(path, ranks)
        test_text("ranks", [path], text, [("tiktoken", as_tiktoken(ranks).encode_ordinary(text))])
        for n in (63, 64, 65, 100, 5000):  # around the lengths at which implementations change their way
            run = "".join(rng.choice("abé漢") for _ in range(n))
            for sample in (run, "a" * n, "ab" * n, " " * n + "x", "=" * n):
                check(f"word of {n}", ours(path, sample.encode()) == as_tiktoken(ranks).encode_ordinary(sample))

        # No bytes are lost, whatever they are.
        noise = bytes(rng.randrange(256) for _ in range(200_000))
        raw = tool(["encode", tmp], noise)
        check("any bytes come back", tool(["decode", tmp], raw) == noise)

    real = os.environ.get("DD_CPU_BPE")
    if real:
        vocab = [os.path.join(real, n) for n in ("vocab.json", "encoder.json")]
        vocab = next(v for v in vocab if os.path.exists(v))
        merges = [os.path.join(real, n) for n in ("merges.txt", "vocab.bpe")]
        merges = next(m for m in merges if os.path.exists(m))
        oracle = ByteLevelBPETokenizer(vocab, merges)
        test_text("GPT-2", [real, merges], hf_text, [("tokenizers", ids_of(oracle, hf_text))])
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        order = [i for i in range(256) if chr(i) in alphabet] + [i for i in range(256) if chr(i) not in alphabet]
        back = {}
        for k, i in enumerate(order):
            back[chr(i) if chr(i) in alphabet else chr(256 + k - sum(chr(j) in alphabet for j in range(256)))] = i
        ranks = {bytes(back[c] for c in t): i for t, i in json.load(open(vocab)).items() if t != "<|endoftext|>"}
        test_text("GPT-2", [real, merges], text, [("tiktoken", as_tiktoken(ranks).encode_ordinary(text))])
    else:
        print("# DD_CPU_BPE names no directory with GPT-2's own vocabulary: tested with vocabularies trained here")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
