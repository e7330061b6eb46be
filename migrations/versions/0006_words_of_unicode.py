"""Words without invisible signs, Arabic letters folded, emoji as words: tokenizes them again."""

import re

from alembic import op

from mmsearch.stores.lexical.rows import rewrite_words

revision = "0006"
down_revision = "0005"

# Invisible signs, Arabic letters and marks, emoji. All other texts keep their tokens.
_AFFECTED = re.compile(
    r"[\u00ad\u034f\u0600-\u06ff\u08d3-\u08ff\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u231a-\u23fa\u2600-\u27bf\u2b05-\u2b55\ufb50-\ufdff\ufe00-\ufe0f\ufe70-\ufeff"
    r"\U0001f000-\U0001faff\U000e0001-\U000e01ef]"
)


def upgrade() -> None:
    rewrite_words(op.get_bind(), _is_affected)


def downgrade() -> None:
    """Nothing to do: earlier versions read these tokens, but find emoji and Arabic forms less."""


def _is_affected(text: str) -> bool:
    return not text.isascii() and _AFFECTED.search(text) is not None
