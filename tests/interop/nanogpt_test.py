"""A model with nanoGPT's semantics, written down here from their description, loads what `export --format
nanogpt` writes, with strict names, and has the same logits; `train --init-from` reads what such a model saves with
torch.save."""
import pickle
from common import TINY, check, dd, far, finish, logits, need, start, write_text

torch, safetensors = need("torch", "safetensors.torch")
from torch import nn
from torch.nn import functional as F
directory = start()


class Norm(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    def __init__(self, heads, width, bias):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width, bias=bias)
        self.c_proj = nn.Linear(width, width, bias=bias)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (y.view(B, T, self.heads, -1).transpose(1, 2) for y in self.c_attn(x).split(C, 2))
        score = q @ k.transpose(2, 3) / (C // self.heads) ** 0.5
        score = score.masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf"))
        return self.c_proj((score.softmax(3) @ v).transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width, bias=bias)
        self.c_proj = nn.Linear(4 * width, width, bias=bias)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, heads, width, bias):
        super().__init__()
        self.ln_1, self.attn = Norm(width, bias), Attention(heads, width, bias)
        self.ln_2, self.mlp = Norm(width, bias), MLP(width, bias)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, n_layer, n_head, n_embd, block_size, bias, vocab_size, dropout):
        super().__init__()
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(vocab_size, n_embd), wpe=nn.Embedding(block_size, n_embd),
            h=nn.ModuleList(Block(n_head, n_embd, bias) for _ in range(n_layer)), ln_f=Norm(n_embd, bias)))
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, ids):
        t = self.transformer
        x = t.wte(ids) + t.wpe(torch.arange(ids.shape[1]))
        for block in t.h:
            x = block(x)
        return self.lm_head(t.ln_f(x))

    def optimizer(self, group):
        p = list(self.parameters())
        return torch.optim.AdamW([{"params": [x for x in p if x.dim() >= 2], "weight_decay": 0.1},
                                  {"params": [x for x in p if x.dim() < 2], "weight_decay": 0.0}], lr=1e-3,
                                 betas=group["betas"])


def theirs(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]))[0].flatten().tolist()


write_text("text", "abcdefgh.,\"\\\té€\u4e2d\U0001f600")
content = open("text", encoding="utf-8", newline="").read()
for name, more in (("plain", ()), ("bias", ("--bias",))):
    dd("train", *TINY, *more, "--data", "text", "-o", name)
    dd("export", name, "--format", "nanogpt", "--checkpoint", "latest", "-o", f"{name}.nano")
    # As torch 2.6 and later load when nothing is said; 1.13's weights_only knows no floats, its own neither.
    c = torch.load(f"{name}.nano/ckpt.pt", map_location="cpu", weights_only=torch.__version__ >= "2")
    meta = pickle.load(open(f"{name}.nano/meta.pkl", "rb"))
    ids = [meta["stoi"][s] for s in content[:32]]
    check("meta.pkl", "".join(meta["itos"][i] for i in ids) == content[:32] and meta["vocab_size"] == len(meta["itos"]))
    check("ids are ours", [sorted(set(content)).index(s) for s in content[:32]] == ids)
    model = GPT(**c["model_args"])
    model.load_state_dict(c["model"])  # strict
    model.eval()
    check(f"logits of {name}", far(theirs(model, ids), logits(name, ids)) <= 1e-5)
    check("iteration", c["iter_num"] == 30 and 0 < c["best_val_loss"] < 10 and c["config"]["dataset"] == "text")

    # The optimizer goes on where it was.
    optimizer = model.optimizer(c["optimizer"]["param_groups"][0])
    optimizer.load_state_dict(c["optimizer"])
    weights = safetensors.load_file(f"{name}/ckpt-0000030.safetensors")
    for key, p in model.named_parameters():
        key = "transformer.wte.weight" if key == "lm_head.weight" else key
        state = optimizer.state[p]
        check(f"moments of {key}", torch.equal(state["exp_avg"], weights[f"optim.m/{key}"]) and
              torch.equal(state["exp_avg_sq"], weights[f"optim.v/{key}"]) and int(state["step"]) == 30)
    x = torch.tensor([ids[:-1]])
    F.cross_entropy(model(x)[0], torch.tensor(ids[1:])).backward()
    optimizer.step()
    check("one update counted once", {int(s["step"]) for s in optimizer.state.values()} == {31})
    check("the update moved the weights", not torch.equal(model.lm_head.weight.data, weights["transformer.wte.weight"]))

    # ---- in: what train.py saves, also from a compiled model ----
    for prefix in ("", "_orig_mod."):
        torch.save({**c, "model": {prefix + k: v for k, v in model.state_dict().items()},
                    "optimizer": optimizer.state_dict(), "best_val_loss": torch.tensor(1.5)}, f"{name}.pt")
        dd("train", "-q", "-t", "1", "--data", "text", "--batch-size", "2", "--max-iters", "1", "--lr", "0",
           "--min-lr", "0", "--warmup-iters", "0", "--init-from", f"{name}.pt", "-o", f"{name}.in", "--overwrite")
        check(f"logits of {name} read back", far(theirs(model, ids), logits(f"{name}.in", ids)) <= 1e-5)
        got = safetensors.load_file(f"{name}.in/ckpt-0000001.safetensors")
        check("equal weights", all(torch.equal(got[k], v) for k, v in model.state_dict().items() if k in got) and
              len([k for k in got if not k.startswith("optim.")]) == len(list(model.parameters())))
finish()
