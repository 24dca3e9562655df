"""What the conditions in these tests may name: every built-in fact, some of a policy's own, and four bands."""

from app.policy.catalogue import BUILT_IN
from app.policy.expressions import Type
from app.policy.parts import Scope

BANDS = ("tech", "low", "high", "strategic")
SCOPE = Scope(
    {
        **BUILT_IN,
        "tickets": Type.NUMBER,
        "health": Type.NUMBER,
        "plan": Type.TEXT,
        "paying": Type.BOOLEAN,
        "trial_until": Type.DATE,
        "seen_at": Type.TIMESTAMP,
    },
    BANDS,
)
