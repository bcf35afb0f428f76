"""The gguf package, of llama.cpp's authors, reads every tensor and entry of what `export --format gguf` writes."""
import json
from bpe_texts import vocabulary
from common import TINY, check, dd, finish, need, start, write_text

gguf, numpy, safetensors, _ = need("gguf", "numpy", "safetensors.numpy", "tokenizers")
directory = start()
write_text("text", "abcdefgh.,\"\\\té€\u4e2d\U0001f600")
OURS = {"token_embd": "transformer.wte", "position_embd": "transformer.wpe", "output_norm": "transformer.ln_f",
        "attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2",
        "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}

bpe = vocabulary("vocabulary")
for name, more in (("plain", ()), ("bias", ("--bias",)), ("bytes", ("--tokenizer", "byte")), ("gpt2", ("--bpe", bpe))):
    dd("train", *TINY, *more, "--data", "text", "-o", name)
    dd("export", name, "--format", "gguf", "--checkpoint", "latest", "-o", f"{name}.gguf")
    reader = gguf.GGUFReader(f"{name}.gguf")
    field = {k: f.contents() for k, f in reader.fields.items()}
    weights = safetensors.load_file(f"{name}/ckpt-0000030.safetensors")
    V = weights["transformer.wte.weight"].shape[0]
    want = {"general.architecture": "gpt2", "gpt2.context_length": 32, "gpt2.embedding_length": 32,
            "gpt2.feed_forward_length": 128, "gpt2.block_count": 2, "gpt2.attention.head_count": 2,
            "gpt2.vocab_size": V, "general.name": name,
            "tokenizer.ggml.model": "gpt2" if name == "gpt2" else "rwkv"}
    for key, value in want.items():
        check(f"{name} {key}", field.get(key) == value, repr(field.get(key)))
    check(f"{name} epsilon", abs(field["gpt2.attention.layer_norm_epsilon"] - 1e-5) < 1e-10)
    tokens = field["tokenizer.ggml.tokens"]
    if name != "gpt2":
        tokens = [bytes(t, "latin-1").decode("unicode_escape").encode("latin-1") for t in tokens]
    if name == "gpt2":  # what their own converter would take from the directory for transformers
        dd("export", name, "--format", "hf", "--checkpoint", "latest", "-o", "gpt2.hf")
        special = gguf.SpecialVocab("gpt2.hf", load_merges=True)
        ids = json.load(open("gpt2.hf/vocab.json", encoding="utf-8"))
        check("tokens are those of vocab.json", {t: i for i, t in enumerate(tokens)} == ids and len(ids) == V)
        check("merges", field["tokenizer.ggml.merges"] == special.merges and len(special.merges) > 1000)
        check("end of text", special.special_token_ids["eos"] == field["tokenizer.ggml.eos_token_id"]
              == field["tokenizer.ggml.bos_token_id"] == ids["<|endoftext|>"])
        control = [i for i, t in enumerate(field["tokenizer.ggml.token_type"]) if t == gguf.TokenType.CONTROL]
        check("control tokens", control == [ids["<|endoftext|>"]])
        check("kind of words", field["tokenizer.ggml.pre"] == "gpt-2" and not field["tokenizer.ggml.add_bos_token"])
    elif name == "bytes":
        check("tokens are the bytes", tokens == [bytes([i]) for i in range(256)])
    else:
        check("tokens are the characters", tokens == [c.encode() for c in sorted(set(open("text", newline="").read()))])
    check("every token has a type", len(field["tokenizer.ggml.token_type"]) == V)
    seen = 0
    for t in reader.tensors:
        parts = t.name.split(".")
        ours = OURS[parts[-2]] + "." + parts[-1]
        if parts[0] == "blk":
            ours = f"transformer.h.{parts[1]}.{ours}"
        check(f"{t.name} is float32", t.tensor_type == gguf.GGMLQuantizationType.F32)
        if ours in weights:
            seen += 1
            w = weights[ours]
            check(f"{name} {t.name}", t.data.shape == w.shape and t.data.tobytes() == w.tobytes())
        else:
            check(f"{name} {t.name} is zero", parts[-1] == "bias" and not t.data.any())
    ours = [k for k in weights if not k.startswith("optim.")]
    check("all tensors", seen == len(ours) and len(reader.tensors) == 2 + 2 * 12 + 2)
dd("export", "plain", "--format", "gguf", "-o", "plain.gguf", rc=2, text="--overwrite")
finish()
