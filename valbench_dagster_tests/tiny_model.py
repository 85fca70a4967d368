"""A language model of a tenth of a megabyte, made on the spot: random weights that a real server can load and sample.

It says nothing sensible and says it fast. Two things are not left to chance. Its tokens are the 256 bytes and the
space, so that every prompt can be read and every grammar be kept. And one dimension of its residual stream is the
same number at every place, which makes the output matrix's weights for it a bias on each token: only printable ASCII
is said (llama.cpp answers 500 where a string that a grammar holds is broken UTF-8), no backslash (half an escape is a
lone surrogate), few spaces (where a grammar allows any number of them, a random model may never stop), and a quotation
mark or the end after some twenty characters (a string without a longest length would else run into the token limit).
The same seed gives the same bytes.
"""

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

NAME = "tiny-random-llama"
WIDTH, LAYERS, HEADS = 32, 1, 2
CONTEXT = 32_768
"""Tokens, which are bytes here, that the model is said to have been trained for."""

_CONTROLS = ["<unk>", "<s>", "</s>"]
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how this kind of tokenizer writes a space
_TOKENS = [*_CONTROLS, *(f"<0x{byte:02X}>" for byte in range(256)), _SPACE]
_END, _FIRST_BYTE = 2, len(_CONTROLS)
_CHAT = "{% for message in messages %}<{{ message.role }}>{{ message.content }}</{{ message.role }}>{% endfor %}<reply>"

_ALWAYS = 4.0
"""What the constant dimension holds before the last normalisation."""
_NEVER, _SELDOM, _OFTEN = -200.0, -1.5, 0.9

Matrix = npt.NDArray[np.float32]


def write_tiny_model(path: Path, seed: int = 11) -> Path:
    """Write the model to `path` as a GGUF file and give `path`."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer)
    for name, tensor in _weights(random).items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name(NAME)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(_TOKENS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(_TOKENS)
    writer.add_token_scores([0.0] * len(_TOKENS))
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    writer.add_token_types([*kinds, *[gguf.TokenType.BYTE] * 256, gguf.TokenType.NORMAL])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(_END)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(_CHAT)


def _weights(random: np.random.Generator) -> dict[str, Matrix]:
    """Draw every matrix; rows are outputs. The layers write nothing into dimension 0, which the embedding sets."""

    def drawn(rows: int, columns: int) -> Matrix:
        return np.asarray(random.standard_normal((rows, columns)) / np.sqrt(columns), np.float32)

    def silent(matrix: Matrix) -> Matrix:
        matrix[0] = 0.0
        return matrix

    embedding, output = drawn(len(_TOKENS), WIDTH) * 8.0, drawn(len(_TOKENS), WIDTH) * 2.0
    embedding[:, 0] = _ALWAYS
    output[:, 0] = _bias()
    ones = np.ones(WIDTH, np.float32)
    weights = {"token_embd": embedding, "output_norm": ones, "output": output}
    for layer in range(LAYERS):
        block = {
            "attn_norm": ones,
            "attn_q": drawn(WIDTH, WIDTH),
            "attn_k": drawn(WIDTH, WIDTH),
            "attn_v": drawn(WIDTH, WIDTH),
            "attn_output": silent(drawn(WIDTH, WIDTH)),
            "ffn_norm": ones,
            "ffn_gate": drawn(2 * WIDTH, WIDTH),
            "ffn_up": drawn(2 * WIDTH, WIDTH),
            "ffn_down": silent(drawn(WIDTH, 2 * WIDTH)),
        }
        weights |= {f"blk.{layer}.{name}": tensor for name, tensor in block.items()}
    return weights


def _bias() -> Matrix:
    bias = np.full(len(_TOKENS), _NEVER, np.float32)
    bias[_FIRST_BYTE + ord("!") : _FIRST_BYTE + 127] = 0.0
    bias[_FIRST_BYTE + ord("\\")] = _NEVER
    bias[-1] = _SELDOM
    bias[[_END, _FIRST_BYTE + ord('"')]] = _OFTEN
    return bias
