"""numpy, imported when the first array is made: what only lists tasks or files never waits for it.

`np` is numpy for who reads and checks the code; the names of types stand in annotations only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Int32", "IntArray", "NDArray", "np"]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]
    Int32 = NDArray[np.int32]
else:

    class _Numpy:
        def __getattr__(self, name: str) -> Any:
            import numpy

            setattr(self, name, getattr(numpy, name))
            return self.__dict__[name]

    np = _Numpy()
    NDArray = IntArray = Int32 = Any
