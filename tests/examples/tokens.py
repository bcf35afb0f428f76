"""Trains on an array of tokens from Python, with nothing but ctypes: no text, no files.

    python3 tokens.py [libdd.so.0]
"""
import ctypes as C
import sys

I64, F64, PTR = C.c_int64, C.c_double, C.c_void_p


class Error(C.Structure):
    _fields_ = [("code", C.c_int), ("message", C.c_char * 1024)]


class RateQuery(C.Structure):
    _fields_ = [("iter", I64), ("max_iters", I64), ("name", C.c_char_p), ("site", I64), ("p0", F64),
                ("train_loss", F64), ("val_loss", F64), ("best_val_loss", F64), ("reserved", I64 * 8)]


RATE = C.CFUNCTYPE(F64, PTR, C.POINTER(RateQuery))


class Callbacks(C.Structure):  # hooks that are not used here are left as addresses
    _fields_ = [("user", PTR), ("message", PTR), ("phase", PTR), ("step", PTR), ("eval", PTR), ("text", PTR),
                ("study", PTR), ("check", PTR), ("should_stop", PTR), ("rate", RATE), ("reserved", PTR * 8)]


class TrainResult(C.Structure):
    _fields_ = [("iter", I64), ("final_loss", F64), ("train_loss", F64), ("val_loss", F64), ("best_val_loss", F64),
                ("best_iter", I64), ("skipped", I64), ("rollbacks", I64), ("seconds", F64),
                ("fingerprint", C.c_char * 33), ("run_dir", C.c_char * 4096), ("reserved", I64 * 8)]


class TensorView(C.Structure):
    _fields_ = [("data", C.POINTER(C.c_float)), ("size", I64), ("dimensions", I64), ("shape", I64 * 2),
                ("name", C.c_char * 64), ("reserved", I64 * 4)]


def load(path):
    lib = C.CDLL(path)
    lib.dd_version.restype = C.c_char_p
    lib.dd_struct_size.restype = C.c_size_t
    lib.dd_settings_create.restype = PTR
    lib.dd_settings_destroy.argtypes = [PTR]
    lib.dd_settings_destroy.restype = None
    lib.dd_settings_set.argtypes = [PTR, C.c_char_p, C.c_char_p, C.POINTER(Error)]
    lib.dd_gpt_create_from_tokens.argtypes = [C.POINTER(PTR), PTR, C.POINTER(C.c_uint16), I64,
                                              C.POINTER(C.c_uint16), I64, I64, C.POINTER(Callbacks), C.POINTER(Error)]
    lib.dd_gpt_train.argtypes = [PTR, I64, C.POINTER(TrainResult), C.POINTER(Error)]
    lib.dd_gpt_generate.argtypes = [PTR, PTR, C.POINTER(C.c_int32), I64, C.POINTER(C.c_int32), I64, C.POINTER(Error)]
    lib.dd_gpt_tensor.argtypes = [PTR, C.c_char_p, C.POINTER(TensorView), C.POINTER(Error)]
    lib.dd_gpt_close.argtypes = [PTR, C.POINTER(Error)]
    for name, mine in [("dd_error", Error), ("dd_rate_query", RateQuery), ("dd_callbacks", Callbacks),
                       ("dd_train_result", TrainResult), ("dd_tensor_view", TensorView)]:
        size = lib.dd_struct_size(name.encode())
        assert size == C.sizeof(mine), f"{name} has {size} bytes in the library and {C.sizeof(mine)} here"
    return lib


def main():
    dd = load(sys.argv[1] if len(sys.argv) > 1 else "libdd.so.0")
    err = Error()

    def check(rc):
        if rc:
            raise RuntimeError(err.message.decode())

    # Counting modulo 10, three numbers at a time: something that can be learnt.
    numbers = [(i // 3) % 10 for i in range(6000)]
    train, val = (C.c_uint16 * 5000)(*numbers[:5000]), (C.c_uint16 * 1000)(*numbers[5000:])

    seen = []

    @RATE
    def rate(_, query):  # from p0 to nothing in the first half
        q = query.contents
        seen.append(q.iter)
        return max(0.0, q.p0 * (1 - 2 * q.iter / q.max_iters))

    settings = dd.dd_settings_create()
    for key, value in {"preset": "tiny", "schedule": "callback:first-half", "max_iters": "300", "lr": "1e-2"}.items():
        check(dd.dd_settings_set(settings, key.encode(), value.encode(), C.byref(err)))
    gpt, callbacks = PTR(), Callbacks(rate=rate)
    check(dd.dd_gpt_create_from_tokens(C.byref(gpt), settings, train, 5000, val, 1000, 10, C.byref(callbacks),
                                       C.byref(err)))
    result = TrainResult()
    for _ in range(3):
        check(dd.dd_gpt_train(gpt, 100, C.byref(result), C.byref(err)))
        print(f"iteration {result.iter}: validation loss {result.val_loss:.4f}")
    assert result.val_loss < 0.1 and max(seen) == 300
    print("fingerprint", result.fingerprint.decode())

    prompt, made = (C.c_int32 * 6)(4, 4, 4, 5, 5, 5), (C.c_int32 * 12)()
    check(dd.dd_gpt_generate(gpt, None, prompt, 6, made, 12, C.byref(err)))
    print("4 4 4 5 5 5 goes on with", *made)
    assert list(made) == [6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9]

    view = TensorView()
    check(dd.dd_gpt_tensor(gpt, b"transformer.wte.weight", C.byref(view), C.byref(err)))
    # numpy.ctypeslib.as_array(view.data, tuple(view.shape)) is the tensor itself, without a copy
    print("embedding", view.shape[0], "x", view.shape[1], "begins", *(f"{view.data[i]:.3f}" for i in range(3)))
    check(dd.dd_gpt_close(gpt, C.byref(err)))
    dd.dd_settings_destroy(settings)


if __name__ == "__main__":
    main()
