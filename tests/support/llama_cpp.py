"""llama.cpp by its C interface: the library that the wheel `xllamacpp` carries, called through ctypes.

The two parameter structs are longer in some releases than in others; only their first fields are named here, and space
follows: they are passed by value on the stack, where too much does no harm. `Model` checks that the named fields hold
llama.cpp's defaults, so another layout is noticed.
"""
import ctypes
import functools
import importlib.util
import pathlib

import numpy as np

F32, F16 = 0, 1  # ggml_type


class ModelParams(ctypes.Structure):
    _fields_ = [("room", ctypes.c_byte * 512)]


class ContextParams(ctypes.Structure):
    _fields_ = [("n_ctx", ctypes.c_uint32), ("n_batch", ctypes.c_uint32), ("n_ubatch", ctypes.c_uint32), ("n_seq_max", ctypes.c_uint32),
                ("n_rs_seq", ctypes.c_uint32), ("n_outputs_max", ctypes.c_uint32), ("n_outputs_max_per_seq", ctypes.c_uint32),
                ("n_threads", ctypes.c_int32), ("n_threads_batch", ctypes.c_int32),
                ("ctx_type", ctypes.c_int), ("rope_scaling_type", ctypes.c_int), ("pooling_type", ctypes.c_int),
                ("attention_type", ctypes.c_int), ("flash_attn_type", ctypes.c_int),
                ("rope_freq_base", ctypes.c_float), ("rope_freq_scale", ctypes.c_float), ("yarn_ext_factor", ctypes.c_float),
                ("yarn_attn_factor", ctypes.c_float), ("yarn_beta_fast", ctypes.c_float), ("yarn_beta_slow", ctypes.c_float),
                ("yarn_orig_ctx", ctypes.c_uint32), ("defrag_thold", ctypes.c_float),
                ("cb_eval", ctypes.c_void_p), ("cb_eval_user_data", ctypes.c_void_p),
                ("type_k", ctypes.c_int), ("type_v", ctypes.c_int), ("room", ctypes.c_byte * 512)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


_Log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_log_lines = []
_keep_log = _Log(lambda level, text, _: _log_lines.append(text))
_POINTER_RESULTS = ["llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab", "llama_adapter_lora_init",
                    "llama_get_memory"]


@functools.cache
def library():
    folder = pathlib.Path(importlib.util.find_spec("xllamacpp").origin).parent
    lib = ctypes.CDLL(str(next(folder.glob("xllamacpp*.so"))))
    for name in _POINTER_RESULTS:
        getattr(lib, name).restype = ctypes.c_void_p
    lib.llama_model_default_params.restype = ModelParams
    lib.llama_context_default_params.restype = ContextParams
    lib.llama_batch_init.restype = Batch
    lib.llama_batch_free.argtypes = [Batch]
    lib.llama_get_logits_ith.restype = ctypes.POINTER(ctypes.c_float)
    lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, ModelParams]
    lib.llama_init_from_model.argtypes = [ctypes.c_void_p, ContextParams]
    lib.llama_decode.argtypes = [ctypes.c_void_p, Batch]
    lib.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32,
                                   ctypes.c_bool, ctypes.c_bool]
    lib.llama_adapter_lora_init.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.llama_set_adapters_lora.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t,
                                            ctypes.POINTER(ctypes.c_float)]
    lib.llama_memory_clear.argtypes = [ctypes.c_void_p, ctypes.c_bool]
    lib.llama_log_set(_keep_log, None)
    lib.llama_backend_init()
    return lib


def last_log(lines=12):
    return b"".join(_log_lines[-lines:]).decode(errors="replace")


class Model:
    """A GGUF file as llama.cpp has loaded it, with a context whose cache is float32."""

    def __init__(self, path, n_ctx=512, threads=1):
        self.lib = library()
        self.model = self.lib.llama_model_load_from_file(str(path).encode(), self.lib.llama_model_default_params())
        assert self.model, last_log()
        params = self.lib.llama_context_default_params()
        assert (params.type_k, params.type_v, params.n_seq_max) == (F16, F16, 1), "another layout of llama_context_params"
        params.n_ctx = params.n_batch = params.n_ubatch = n_ctx
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = 0
        params.type_k = params.type_v = F32
        self.context = self.lib.llama_init_from_model(self.model, params)
        assert self.context, last_log()
        self.vocab = self.lib.llama_model_get_vocab(ctypes.c_void_p(self.model))
        self.n_vocab = self.lib.llama_vocab_n_tokens(ctypes.c_void_p(self.vocab))
        self.n_ctx = n_ctx

    def close(self):
        self.lib.llama_free(ctypes.c_void_p(self.context))
        self.lib.llama_model_free(ctypes.c_void_p(self.model))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def tokenize(self, text, special=False):
        """The ids of a text; `special`: with BOS and EOS where the model has them. Special tokens in the text count as such."""
        data = text.encode()
        room = (ctypes.c_int32 * (len(data) + 16))()
        count = self.lib.llama_tokenize(self.vocab, data, len(data), room, len(room), special, True)
        assert count >= 0
        return room[:count]

    def _decode(self, ids, position, all_logits):
        """Puts the tokens through the model, after those before `position`."""
        batch = self.lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, position + i, 1, 0
            batch.logits[i] = all_logits or i == len(ids) - 1
        assert self.lib.llama_decode(self.context, batch) == 0, last_log()
        return batch

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(ctypes.c_void_p(self.context)), True)

    def next_token(self, ids, position):
        """The likeliest token after these, which follow the `position` tokens that are in the cache."""
        self.lib.llama_batch_free(self._decode(ids, position, all_logits=False))
        logits = self.lib.llama_get_logits_ith(ctypes.c_void_p(self.context), len(ids) - 1)
        return int(np.ctypeslib.as_array(logits, (self.n_vocab,)).argmax())

    def logits(self, ids):
        """[tokens, vocabulary], of a text by itself."""
        self.clear()
        batch = self._decode(ids, 0, all_logits=True)
        rows = [np.ctypeslib.as_array(self.lib.llama_get_logits_ith(ctypes.c_void_p(self.context), i), (self.n_vocab,)).copy()
                for i in range(len(ids))]
        self.lib.llama_batch_free(batch)
        return np.stack(rows)

    def greedy(self, ids, count):
        """The `count` tokens that follow, each the likeliest."""
        ids = list(ids)
        for _ in range(count):
            ids.append(int(self.logits(ids)[-1].argmax()))
        return ids[-count:]

    def add_adapter(self, path):
        adapter = self.lib.llama_adapter_lora_init(self.model, str(path).encode())
        assert adapter, last_log()
        adapters, scales = (ctypes.c_void_p * 1)(adapter), (ctypes.c_float * 1)(1.0)
        assert self.lib.llama_set_adapters_lora(self.context, adapters, 1, scales) == 0
