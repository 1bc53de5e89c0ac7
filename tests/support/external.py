"""Settings of other libraries' methods."""

from __future__ import annotations

FEW = {
    "compacter": {"phm_dim": 2, "reduction_factor": 4},
    "compacter++": {"phm_dim": 2, "reduction_factor": 4},
    "fourierft": {"n_frequency": 20},
    "waveft": {"n_frequency": 20},
    "gralora": {"r": 8},
    "oft": {"oft_block_size": 4, "r": 0},
    "olora": {"r": 4},
    "pissa": {"r": 4},
    "randlora": {"r": 4},
}
"""Settings that fit a model of sixteen numbers a token."""
