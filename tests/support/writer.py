"""A program that adds, tags and removes modules of a library for a while.

`writer.py ZOO SECONDS SEED FOLDER…`: the last two folders are shared with others, so a removal may
find one gone; the rest are its own. It ends with one line of JSON: how much it did, the digests of
its own modules that it kept, and the first thing that went wrong.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from contextlib import nullcontext, suppress
from pathlib import Path

from xstilts.errors import NotFoundError
from xstilts.zoo import Zoo, read_manifest
from xstilts.zoo.maintenance import copy_into, gc


def main() -> None:
    zoo, seconds, draws = Zoo(Path(sys.argv[1])), float(sys.argv[2]), random.Random(sys.argv[3])
    folders = [Path(name) for name in sys.argv[4:]]
    shared = {read_manifest(folder).digest for folder in folders[-2:]}
    kept: dict[str, bool] = {}
    record = {"added": 0, "removed": 0, "error": ""}
    with tempfile.TemporaryDirectory() as other:  # the libraries load before the clock starts
        copy_into(Zoo(Path(other)), folders[0])
    end = time.monotonic() + seconds
    while time.monotonic() < end and not record["error"]:
        folder = draws.choice(folders)
        digest = read_manifest(folder).digest
        try:
            if draws.random() < 0.6:
                entry = copy_into(zoo, folder)
                kept[digest] = True
                record["added"] += 1
                if draws.random() < 0.3:
                    with suppress(NotFoundError) if digest in shared else nullcontext():
                        zoo.tag(entry, f"t{draws.randint(0, 3)}")
            else:
                try:
                    zoo.remove(zoo.find("@" + digest))
                    record["removed"] += 1
                    kept[digest] = False
                except NotFoundError:
                    if digest not in shared and kept.get(digest):
                        record["error"] = f"{folder.name} was lost"
            if draws.random() < 0.1:
                gc(zoo)
        except Exception as error:
            record["error"] = f"{type(error).__name__}: {error}"
    own = [digest for digest, there in kept.items() if there and digest not in shared]
    print(json.dumps({**record, "kept": own}))


if __name__ == "__main__":
    main()
