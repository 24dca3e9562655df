"""What the policy file says is what the rest of the program gets: random policies, written as TOML and read back."""

from app.policy.expressions import Call, Case, Compare, Expression, Fact, In, IsNull
from app.policy.model import Policy
from app.policy.read import read_policy
from tests.oracle_expressions import parts
from tests.policy_text import policy_text
from tests.random_expressions import seeded
from tests.random_policies import random_policy

SEEDS = range(200)


def rests_on_facts(expression: Expression) -> bool:
    """Whether a literal always has a fact beside it, to take its type from."""
    asking: list[list[Expression]] = [
        [node] for node in parts(expression) if isinstance(node, Compare | In | IsNull | Call)
    ]
    cases = [node for node in parts(expression) if isinstance(node, Case)]
    asking += [[*(result for _, result in node.branches), node.otherwise] for node in cases]
    return all(any(isinstance(part, Fact) for node in nodes for part in parts(node)) for nodes in asking)


def conditions(policy: Policy) -> list[Expression]:
    guarded = [rule.protect_when for rule in policy.rules if rule.protect_when is not None]
    return [policy.value, *(rule.when for rule in policy.rules), *guarded]


def test_a_policy_reads_back_as_it_was_written() -> None:
    written = [random_policy(seeded(seed)) for seed in SEEDS]
    plain = [policy for policy in written if all(map(rests_on_facts, conditions(policy)))]
    assert len(plain) >= 120
    for policy in plain:
        text = policy_text(policy)
        read = read_policy(text, source="random.toml")
        parts_told = ("name", "bands", "currency", "value", "floors", "attributes", "signals", "rules", "owners")
        for part in (*parts_told, "calendar"):
            assert getattr(read, part) == getattr(policy, part), f"{part} of\n{text}"
