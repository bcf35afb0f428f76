"""What the tests of GPT-2's tokenizer share: mixed texts, a vocabulary, our own ids. The last argument is BPE_TOOL."""
import os
import random
import subprocess
import sys
import unicodedata

TOOL = os.path.abspath(sys.argv[-1])


def tool(args, data):
    return subprocess.run([TOOL, *args], input=data, stdout=subprocess.PIPE, check=True).stdout


def ours(vocabulary, data):
    raw = tool(["encode", vocabulary], data)
    return [a | b << 8 for a, b in zip(raw[::2], raw[1::2])]


def difference(a, b):
    if a == b:
        return ""
    i = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"token {i}: {a[i:i + 5]}, the oracle has {b[i:i + 5]} ({len(a)} and {len(b)} tokens)"


def vocabulary(path):
    """For --bpe: GPT-2's own where DD_CPU_BPE names it, else one that is trained here into that directory."""
    real = os.environ.get("DD_CPU_BPE")
    if real:
        return os.path.abspath(real)
    from tokenizers import ByteLevelBPETokenizer
    os.makedirs(path)
    made = ByteLevelBPETokenizer()
    made.train_from_iterator([mixed(random.Random(2), 300_000), "low lower lowest newer newest wider " * 2000],
                             vocab_size=2000, min_frequency=2, special_tokens=["<|endoftext|>"])
    made.save_model(path)
    return os.path.abspath(path)


# ---- texts ----

SPACES = [chr(c) for c in range(0x3001) if chr(c).isspace() and c not in range(0x1C, 0x20)]
ALL = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
DIGITS = [c for c in ALL if unicodedata.category(c)[0] == "N"]
LETTERS = [c for c in ALL if unicodedata.category(c)[0] == "L"]
ENGLISH = ("the of and to in is that it he was for on are as with his they at be this have from or had by word but not "
           "what all were we when your can said there use an each which she do how their if will up other about "
           "Shakespeare don't I'm we've you'll he'd it's they're DON'T I'M 's 't 're '' '' 'S 'Re").split()


def mixed(rng, size):
    """About `size` bytes of words, runs of one kind, and single characters of all planes."""
    out, n = [], 0
    makers = [
        lambda: rng.choice(ENGLISH) + rng.choice(["", " ", " ", " ", "\n"]),
        lambda: "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 5))),
        lambda: rng.choice([" ", "\n", "\t", "\u00a0", "\r\n"]) * rng.randint(1, 12),
        lambda: "".join(rng.choice(ALL) for _ in range(rng.randint(1, 8))),
        lambda: "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 12))),
        lambda: rng.choice(["", " "]) + "".join(rng.choice(DIGITS) for _ in range(rng.randint(1, 6))),
        lambda: str(rng.randint(0, 10**9)),
        lambda: "'" * rng.randint(1, 3) + rng.choice(["s", "t", "re", "ve", "m", "ll", "d", "l", "r", "S", "é"]),
        lambda: "".join(rng.choice("!?.,;:-_=+*/\\|<>()[]{}@#$%^&~`\"") for _ in range(rng.randint(1, 20))),
        lambda: rng.choice(LETTERS) * rng.randint(30, 120),
        lambda: chr(rng.randint(0x4E00, 0x9FFF)) + "".join(chr(rng.randint(0x4E00, 0x4F00)) for _ in range(60)),
        lambda: "<|endoftext|>",
        lambda: "e\u0301a\u0308\u200d\U0001F469\u200d\U0001F4BB\ufe0f\u0000\u001c\u001f\u0085\u180e\ufeff",
    ]
    while n < size:
        piece = rng.choice(makers)()
        out.append(piece)
        n += len(piece.encode())
    return "".join(out)


def settled(text):
    """Without what some library's tables of Unicode may not have yet, and without the name of a token."""
    text = "".join(c for c in text if unicodedata.ucd_3_2_0.category(c) != "Cn")
    return text.replace("<|endoftext|>", "<|end of text|>").replace("\0", "")
