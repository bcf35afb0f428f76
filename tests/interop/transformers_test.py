"""Hugging Face transformers reads what `export --format hf` writes, and `train --init-from` what transformers saves."""
import json
import os
import random
import shutil
from bpe_texts import difference, mixed, ours, settled, vocabulary
from common import TINY, check, dd, far, finish, logits, need, start, write_text, write_tokens

torch, transformers, safetensors = need("torch", "transformers", "safetensors.torch")
transformers.logging.set_verbosity_error()
directory = start()
torch.manual_seed(1)


def theirs(model, ids):
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0].flatten().tolist()


def load(path):
    return transformers.AutoModelForCausalLM.from_pretrained(path)


# ---- out: a character model, with and without biases ----
write_text("text", "abcdefgh.,\"\\\té€\u4e2d\U0001f600")
content = open("text", encoding="utf-8", newline="").read()
for name, more in (("plain", ()), ("bias", ("--bias",))):
    dd("train", *TINY, *more, "--data", "text", "-o", name)
    dd("export", name, "--format", "hf", "--checkpoint", "latest", "-o", f"{name}.hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(f"{name}.hf")
    ids = tokenizer(content[:400])["input_ids"]
    check("one token a character", len(ids) == 400)
    check("decoding gives the text again", tokenizer.decode(ids) == content[:400])
    check(f"logits of {name}", far(theirs(load(f"{name}.hf"), ids[:32]), logits(name, ids[:32])) <= 1e-5)
check("generation runs", "abc" in tokenizer.decode(load("bias.hf").generate(
    **tokenizer("abc", return_tensors="pt"), max_new_tokens=5, do_sample=False)[0]))
check("nothing that the model would add to its input", list(tokenizer("abc")) == ["input_ids", "attention_mask"])
try:
    tokenizer("Z")
    check("an unknown character is an error", False)
except Exception:
    check("an unknown character is an error", True)
dd("export", "plain", "--format", "hf", "-o", "plain.hf", rc=2, text="--overwrite")
dd("export", "plain", "--format", "hf", "-o", "plain.hf", "--overwrite")

# ---- out: bytes ----
dd("train", *TINY, "--data", "text", "--tokenizer", "byte", "-o", "bytes")
dd("export", "bytes", "--format", "hf", "--checkpoint", "latest", "-o", "bytes.hf")
tokenizer = transformers.AutoTokenizer.from_pretrained("bytes.hf")
ids = tokenizer(content[:200])["input_ids"]
check("ids are the bytes", ids == list(content[:200].encode()))
check("bytes decode to the text", tokenizer.decode(ids) == content[:200])
check("every byte has its id", tokenizer.convert_tokens_to_ids("\u0100") == 0 and tokenizer.vocab_size == 256)
check("logits of bytes", far(theirs(load("bytes.hf"), ids[:32]), logits("bytes", ids[:32])) <= 1e-5)

# ---- out: GPT-2's tokens ----
bpe = vocabulary("vocabulary")
dd("train", *TINY, "--data", "text", "--bpe", bpe, "-o", "gpt2")
dd("export", "gpt2", "--format", "hf", "--checkpoint", "latest", "-o", "gpt2.hf")
mix = settled(mixed(random.Random(3), 100_000))
END = ours(bpe, b"a") + [json.load(open("gpt2.hf/config.json"))["eos_token_id"]] + ours(bpe, b"b")
for kind, n in (("AutoTokenizer", len(mix)), ("GPT2TokenizerFast", len(mix)), ("GPT2Tokenizer", 5000)):
    tokenizer = getattr(transformers, kind).from_pretrained("gpt2.hf")
    ids, want = tokenizer(mix[:n])["input_ids"], ours(bpe, mix[:n].encode())
    check(f"{kind}: ids of mixed text", ids == want, difference(ids, want))
    check(f"{kind}: decodes to the text", tokenizer.decode(ids) == mix[:n])
    check(f"{kind}: end of text", tokenizer("a<|endoftext|>b")["input_ids"] == END and tokenizer.eos_token_id == END[1])
    check(f"{kind}: inputs", list(tokenizer("abc")) == ["input_ids", "attention_mask"])
tokenizer, model = transformers.AutoTokenizer.from_pretrained("gpt2.hf"), load("gpt2.hf")
ids = tokenizer(content[:60])["input_ids"][:32]
check("logits of GPT-2's tokens", far(theirs(model, ids), logits("gpt2", ids)) <= 1e-5)
check("it knows where a text ends", model.generation_config.eos_token_id == END[1] == model.config.bos_token_id)
check("it generates", tokenizer.decode(model.generate(**tokenizer("abc", return_tensors="pt"), max_new_tokens=5,
                                                      do_sample=False, pad_token_id=END[1])[0]).startswith("abc"))
dd("train", "-q", "-t", "1", "--data", "text", "--batch-size", "2", "--max-iters", "1", "--lr", "0", "--min-lr", "0",
   "--warmup-iters", "0", "--init-from", "gpt2.hf", "-o", "gpt2.in")
dd("export", "gpt2.in", "--format", "hf", "-o", "gpt2.again")
for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
    check(f"{name} after a round trip", open(f"gpt2.hf/{name}", "rb").read() == open(f"gpt2.again/{name}", "rb").read())

# ---- in: a random GPT-2 ----
V, S = 211, 40
write_tokens("tokens", V)
config = transformers.GPT2Config(n_layer=3, n_head=3, n_embd=48, n_positions=S, vocab_size=V, bos_token_id=None,
                                 eos_token_id=None, activation_function="gelu")
model = transformers.GPT2LMHeadModel(config)
with torch.no_grad():
    for p in model.parameters():
        p.add_(0.1 * torch.randn_like(p))
model.save_pretrained("random")
KEEP = ("-q", "-t", "1", "--data", "tokens", "--batch-size", "2", "--max-iters", "1", "--lr", "0", "--min-lr", "0",
        "--warmup-iters", "0")  # an update that changes nothing


def same_weights(a, b):
    x, y = safetensors.load_file(f"{a}/model.safetensors"), safetensors.load_file(f"{b}/model.safetensors")
    return x.keys() == y.keys() and all(x[k].float().numpy().tobytes() == y[k].numpy().tobytes() for k in x)


ids = [(7 * i * i + 3) % V for i in range(S)]
prints = set()
for turn in (1, 2):
    dd("train", *KEEP, "--init-from", "random" if turn == 1 else "again1", "-o", f"in{turn}")
    dd("export", f"in{turn}", "--format", "hf", "-o", f"again{turn}")
    check("equal bytes", same_weights("random", f"again{turn}"))
    check("logits of the import", far(theirs(model, ids), logits(f"in{turn}", ids)) <= 1e-5)
    prints.add(json.load(open(f"again{turn}/config.json"))["dd_cpu"]["fingerprint"])
check("one fingerprint", len(prints) == 1)
dd("verify", "in1")

# A run of ours and its export begin a run alike.
dd("train", *KEEP, "--init-from", "in1", "-o", "in3")
dd("export", "in3", "--format", "hf", "-o", "again3")
check("from a run of dd-cpu", same_weights("random", "again3"))

# Half precision, exactly; shards; GPT2Model, whose names have no "transformer.".
for name, kind in (("f16", torch.float16), ("bf16", torch.bfloat16)):
    transformers.GPT2LMHeadModel.from_pretrained("random", torch_dtype=kind).save_pretrained(name)
    dd("train", *KEEP, "--init-from", name, "-o", f"in.{name}")
    dd("export", f"in.{name}", "--format", "hf", "-o", f"again.{name}")
    check(f"{name} read exactly", same_weights(name, f"again.{name}"))
model.save_pretrained("shards", max_shard_size="60KB")
check("there are shards", len([f for f in os.listdir("shards") if f.endswith(".safetensors")]) > 2)
model.transformer.save_pretrained("bare")
for name in ("shards", "bare"):
    dd("train", *KEEP, "--init-from", name, "-o", f"in.{name}")
    dd("export", f"in.{name}", "--format", "hf", "-o", f"again.{name}")
    check(f"weights of {name}", same_weights("random", f"again.{name}"))

# A shorter context keeps the first positions.
dd("train", *KEEP, "--init-from", "random", "--block-size", "16", "-o", "crop")
check("cropped", far(theirs(model, ids[:16]), logits("crop", ids[:16])) <= 1e-5)
dd("train", *KEEP, "--init-from", "random", "--block-size", "41", "-o", "x", rc=2, text="40 or less")

# Fine-tuning lowers the loss, goes on after a stop, and a resume has the weights of its own.
FINE = ("-q", "-t", "1", "--data", "tokens", "--batch-size", "4", "--lr", "1e-3", "--eval-interval", "20",
        "--warmup-iters", "0", "--min-lr", "1e-4", "--init-from", "random", "--dropout", "0")
dd("train", *FINE, "--max-iters", "40", "-o", "fine")
losses = [json.loads(line) for line in open("fine/metrics.jsonl")]
losses = [r["val_loss"] for r in losses if r["type"] == "eval"]
check("fine-tuning lowers the loss", losses[-1] < losses[0] - 0.5, str(losses))
dd("train", "-q", "--resume", "-o", "fine", "--max-iters", "60")
dd("train", "-q", "--resume", "-o", "fine", "--max-iters", "61", "--init-from", "random", rc=2,
   text="exclude each other")

# ---- what does not fit is refused with a sentence ----
dd("train", *KEEP, "--init-from", "random", "--n-layer", "2", "-o", "x", rc=2, text="n_layer")
dd("train", *KEEP, "--init-from", "random", "--no-bias", "-o", "x", rc=2, text="biases")
dd("train", *KEEP, "--init-from", "nowhere", "-o", "x", rc=74, text="no such")
dd("train", *KEEP, "--init-from", "gpt2", "-o", "x", rc=2, text="not downloaded")
write_tokens("more", V + 1)
dd("train", *KEEP, "--data", "more", "--init-from", "random", "-o", "x", rc=2, text="211 symbols")


def changed(name, **keys):
    shutil.rmtree("changed", ignore_errors=True)
    shutil.copytree("random", "changed")
    c = json.load(open("changed/config.json"))
    c.update(keys)
    json.dump(c, open("changed/config.json", "w"))
    return "changed"


for key, value in (("model_type", "gpt_neo"), ("activation_function", "relu"), ("layer_norm_epsilon", 1e-6),
                   ("n_inner", 100), ("scale_attn_weights", False), ("scale_attn_by_inverse_layer_idx", True),
                   ("add_cross_attention", True), ("n_head", 5), ("n_layer", 0), ("vocab_size", 70000),
                   ("n_embd", "a")):
    dd("train", *KEEP, "--init-from", changed(key, **{key: value}), "-o", "x", rc=4, text=key)
for key, value in (("n_layer", 4), ("n_layer", 2), ("n_embd", 96), ("n_positions", 41), ("vocab_size", 212)):
    dd("train", *KEEP, "--init-from", changed(key, **{key: value}), "-o", "x", rc=4, text="tensor")
KEEP = tuple(k for k in KEEP if k != "-q")
dd("train", *KEEP, "--init-from", changed("a", activation_function="gelu_new"), "-o", "tanh", text="by tanh")
untied = transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**config.to_dict(), "tie_word_embeddings": False}))
untied.save_pretrained("untied")
dd("train", *KEEP, "--init-from", "untied", "-o", "x", rc=4, text="not tied")
check("nothing was begun", not os.path.exists("x"))
finish()
