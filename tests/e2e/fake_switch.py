"""A switch to other fake models in a process of its own, to be killed by tests.

python -m tests.e2e.fake_switch LIBRARY

Standard output tells how far it is: "made N" (by this run), then "removing".
"""

from __future__ import annotations

import sys
from pathlib import Path

from indexer.switching.switch import SwitchCounts, switch_in
from tests.support.two_profiles import NEW, open_two


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def made(counts: SwitchCounts) -> None:
    say(f"made {counts.made}")


if __name__ == "__main__":
    with open_two(Path(sys.argv[1]), batch_size=4) as engine:
        remove = engine.library.store.spaces.remove_retired

        def slowly(space_id: int) -> int:
            say("removing")
            return remove(space_id, batch=10)

        engine.library.store.spaces.remove_retired = slowly  # type: ignore[method-assign,assignment]
        switch_in(engine.library, NEW, on_progress=made)
        say("switched")
