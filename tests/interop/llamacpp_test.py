"""llama.cpp itself (as the package xllamacpp carries it) runs what `export --format gguf` writes: it tokenizes like the
run, continues greedily with the same tokens, and its probabilities agree as far as its GELU, a tanh form in half
precision, allows."""
import json
import math
import random
import urllib.request
from bpe_texts import difference, mixed, ours, settled, vocabulary
from common import TINY, check, dd, finish, logits, need, start, write_text

llama, _ = need("xllamacpp", "tokenizers")
directory = start()


class Server:
    def __init__(self, path, context):
        p = llama.CommonParams()
        p.model.path = path
        p.n_ctx = context
        p.n_parallel = 1
        p.warmup = False
        p.cpuparams.n_threads = 1
        p.verbosity = 0
        self.server = llama.Server(p)
        self.url = self.server.listening_address

    def post(self, path, **data):
        r = urllib.request.Request(self.url + path, json.dumps(data).encode(), {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(r))


def log_softmax(x):
    top = max(x)
    total = math.log(sum(math.exp(v - top) for v in x)) + top
    return [v - total for v in x]


write_text("text", "abcdefgh.,\"\\\té€\u4e2d\U0001f600")
content = open("text", encoding="utf-8", newline="").read()
bpe = vocabulary("vocabulary")
KINDS = {"plain": ("--lr", "3e-3"), "bias": ("--bias", "--n-layer", "3"), "bytes": ("--tokenizer", "byte"),
         "gpt2": ("--bpe", bpe)}
for name, more in KINDS.items():
    dd("train", *TINY, *more, "--max-iters", "200", "--block-size", "64", "--data", "text", "-o", name)
    dd("export", name, "--format", "gguf", "--checkpoint", "latest", "-o", f"{name}.gguf")
    server = Server(f"{name}.gguf", 64)
    prompt = content[100:124]
    ids = server.post("/tokenize", content=prompt)["tokens"]
    symbols = sorted(set(content))
    check(f"{name} tokens", ids == (ours(bpe, prompt.encode()) if name == "gpt2" else list(prompt.encode())
                                    if name == "bytes" else [symbols.index(c) for c in prompt]))
    if name == "gpt2":
        mix = settled(mixed(random.Random(4), 100_000))
        got, want = server.post("/tokenize", content=mix)["tokens"], ours(bpe, mix.encode())
        check("ids of mixed text", got == want, difference(got, want))
        check("text of the ids", server.post("/detokenize", tokens=want)["content"] == mix)
        end = server.post("/tokenize", content="a<|endoftext|>b")["tokens"]
        check("end of text", len(end) == 3 and [end[0], end[2]] == ours(bpe, b"a") + ours(bpe, b"b"), str(end))
    check(f"{name} text", server.post("/detokenize", tokens=ids)["content"] == prompt)
    V = len(logits(name, ids)) // len(ids)
    answer = server.post("/completion", prompt=ids, n_predict=12, temperature=0, n_probs=min(V, 300))["completion_probabilities"]
    check(f"{name} goes on to the end", len(answer) == 12)
    worst, ours_greedy, theirs_greedy = 0, [], []
    for step in answer:
        x = log_softmax(logits(name, ids)[-V:])
        ours_greedy.append(x.index(max(x)))
        theirs_greedy.append(step["id"])
        worst = max([worst] + [abs(x[e["id"]] - e["logprob"]) for e in step["top_logprobs"]])
        ids.append(step["id"])
    check(f"{name} greedy tokens", ours_greedy == theirs_greedy, f"{ours_greedy} {theirs_greedy}")
    check(f"{name} probabilities", worst < 5e-3, str(worst))
    print(f"{name}: largest difference of a log probability {worst:.2g}")
    del server
finish()
