"""The modules that come with the checkout; whoever trains in it has others beside them."""

SHIPPED = {
    "commonsenseqa-bottleneck/seq_bn/multilingual-e5-small-q4@3ee5b66eba76": 9741,
    "commonsenseqa/lora/multilingual-e5-small-q4@cf4f31c6a820": 9741,
    "erg_supertags/lora/multilingual-e5-small-q4@4097d8b0bb8d": 2829,
    "hellaswag/lora/multilingual-e5-small-q4@be58d176a3db": 9042,
    "mnli-bottleneck/seq_bn/multilingual-e5-small-q4@fd380a3eb8b7": 9815,
    "mnli/lora/multilingual-e5-small-q4@096864087cb7": 9815,
    "sentence_polarity/lora/multilingual-e5-small-q4@105e88ed62f6": 9662,
    "socialiqa/lora/multilingual-e5-small-q4@bb79a29f5c1d": 10000,
    "squadshifts-bottleneck/seq_bn/multilingual-e5-small-q4@e8e0bf06c21f": 7120,
    "squadshifts/lora/multilingual-e5-small-q4@5d975d708e2f": 7120,
}
"""Folder below `adapters_zoo` to the rows that it was trained on."""
