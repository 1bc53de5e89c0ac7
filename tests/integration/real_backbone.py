"""Build a small XLMRobertaModel of random weights with a SentencePiece tokenizer of real text.

Nothing pretrained is needed: the tokenizer is trained on the NTREX files below DATA. Such a model's
scores are near chance; it stands in for xlm-roberta-base where no hub can be reached, because every
command takes it unchanged.

    python tests/integration/real_backbone.py DATA FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

LAYERS, HIDDEN, VOCABULARY = 4, 64, 8000


def build(data: Path, folder: Path, layers: int = LAYERS, hidden: int = HIDDEN) -> Path:
    """Write config, weights and tokenizer into `folder`, which is returned."""
    from support.random_xlmr import write_random
    from support.tokenizers import tiny_tokenizer

    files = sorted((data / "ntrex").glob("newstest2019-*.txt"))
    if not files:
        raise SystemExit(f"no NTREX files below {data}")
    texts = (line for path in files for line in path.read_text(encoding="utf-8").splitlines())
    tokenizer = tiny_tokenizer((line for line in texts if line.strip()), VOCABULARY)
    return write_random(folder, tokenizer, layers=layers, hidden=hidden)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    print(build(Path(sys.argv[1]), Path(sys.argv[2])))
