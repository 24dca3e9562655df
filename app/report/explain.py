"""Why an account is where it is, for a person on a terminal and as JSON."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import IO, Any

from app.decide.reading import Family, Judgement, Objection, Reading
from app.explain import Candidate, Explanation, Ownership
from app.figures import counted, day, fact, money, printable, sentence, short_money
from app.owners import Claim, Csm
from app.policy.describe import describe
from app.policy.model import FAMILY, Policy
from app.reasons import reason
from app.report.history import SCHEMA, instant, write_standing
from app.report.names import Names
from app.report.page import Column, Page, Row

_LENSES = {"now": "as it stands in {}", "kept": "as if kept in {}", "entry": "on entry to {}"}

_STAGES: Mapping[str | None, str] = {
    None: "It is no active customer and has no band: nothing is decided.",
    "left": "It is no longer an active customer, so it leaves.",
    "pin": "A pin decides its band; no rule is asked.",
    "enter": "It is new, and enters the highest band that its value carries and no demotion would leave at once.",
    "unknown": "The policy has no such band any more, so its value decides, as if it were new.",
    "settling": "It changed band less than six days ago, and is left alone.",
    "lifted": "An intervention lifts it; only that and the graduations are asked.",
    "rules": "The rules decide: interventions first, then demotions against graduations, each in policy order.",
}


def write_explanation(page: Page, policy: Policy, told: Explanation, *, everybody: bool) -> None:
    """Where the account stands, what each rule says of it, and why its owner is its owner.

    CSMs who are excluded and do not serve the band are counted by reason, unless `everybody` is to be listed.
    """
    write_standing(page, told.standing, told.names)
    page.heading(f"The band, as a run at {told.as_of:%Y-%m-%d %H:%M} UTC would see it")
    if told.judgement is None:
        page.line("  bandshift knows no facts of it: it is neither among the accounts nor in a band")
    else:
        _judgement(page, policy, told.judgement)
    _ownership(page, policy, told, everybody=everybody)


def _judgement(page: Page, policy: Policy, judged: Judgement) -> None:
    page.paragraph(_stage(judged), indent=2)
    value = "unknown" if judged.value is None else money(judged.value, policy.currency)
    carries = f", which carries {judged.earned_band}" if judged.earned_band else ""
    page.paragraph(f"Its value is {value}{carries}.", indent=2)
    if (family := judged.family) is not None:
        page.paragraph(_family(family), indent=2)
    if judged.decision is None:
        page.paragraph("So it stays where it is.", indent=2, style="bold")
    else:
        page.paragraph(reason(policy, judged.decision), indent=2, style="bold")
    page.heading("Rules")
    for reading in judged.readings:
        _reading(page, policy, reading)
    for objection in judged.objections:
        page.paragraph(f"Against a rise to {objection.band}: {_objection(policy, objection)}", indent=2)


def _stage(judged: Judgement) -> str:
    if judged.stage == "lifted" and judged.intervention == FAMILY:
        return "Its family lifts it; only the graduations are asked."
    return _STAGES[judged.stage]


def _family(family: Family) -> str:
    """What the account's family has to do with its band."""
    belongs = f"It belongs to the family of {printable(family.root)}"
    if family.merits == family.band:
        return f"{belongs}, in which nobody is in a higher band than {family.band}, where it is on its own merits."
    return f"{belongs}, which {printable(family.by)} puts in {family.band}; by itself it would be in {family.merits}."


def _reading(page: Page, policy: Policy, reading: Reading) -> None:
    """The rule with what came of it, its condition, and the values that it was read with."""
    fired = reading.came_of == "fired"
    page.paragraph(f"{reading.rule.name}: {reading.came_of}", indent=2, style="bold" if fired else None)
    page.paragraph(f"{reading.rule.move} to {reading.rule.to} when {describe(reading.rule.when)}", indent=6)
    if reading.band is not None:
        where = _LENSES[reading.kind].format(reading.band)
        page.paragraph(f"{_TRUTH[reading.holds]} {where}: {_values(policy, reading.facts)}", indent=6)


def _objection(policy: Policy, objection: Objection) -> str:
    does = "still holds it down" if objection.kind == "kept" else "would take it out at once"
    where = _LENSES[objection.kind].format(objection.band)
    return f"{objection.rule.name} {does}, {where}: {_values(policy, objection.facts)}"


_TRUTH = {None: "unknown", True: "true", False: "not true"}


def _values(policy: Policy, facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {fact(policy, name, _exact(value))}" for name, value in facts.items()) or "no facts"


def _exact(value: Any) -> Any:
    return Decimal(str(value)) if isinstance(value, float) else value


# ---- The owner -----------------------------------------------------------------------------------------------------


def _ownership(page: Page, policy: Policy, told: Explanation, *, everybody: bool) -> None:
    owned = told.ownership
    page.heading("The owner")
    if owned.last is not None:
        page.paragraph(f"Since {day(owned.last.changed_at)}: {sentence(owned.last.reason)}", indent=2)
    if owned.claim is None:
        page.paragraph("It needs no owner: it left, or the pool serves it.", indent=2)
        return
    page.paragraph(_next(owned), indent=2, style="bold")
    for note in owned.notes:
        page.paragraph(sentence(note), indent=2, style="yellow")
    for known in _circumstances(owned.claim):
        page.paragraph(known, indent=2)
    page.heading(f"Candidates for {owned.claim.band}, as the books stand")
    _candidates(page, policy, owned, told.names, everybody=everybody)


def _next(owned: Ownership) -> str:
    if owned.change is not None:
        to = owned.change.to_owner_id or "the pool"
        return f"A run now would hand it to {printable(to)}: {sentence(owned.change.reason)}"
    if owned.waiting is not None:
        return f"A run now would leave it with the pool, where it waits since {day(owned.waiting.since)}."
    if owned.settles:
        return "A run now would look at its owner anew, and change nothing."
    return "A run now would not touch its owner: nothing has happened to it."


def _circumstances(claim: Claim) -> Iterator[str]:
    """What else was weighed."""
    if claim.pinned_to is not None:
        yield f"It is pinned to {claim.pinned_to}."
    if claim.locked and claim.owner_since is not None:
        yield f"Its owner is new, since {day(claim.owner_since)}, and stays but for a departure or a pin."
    if claim.former_owners:
        yield f"It was with {', '.join(claim.former_owners)} before."
    if claim.family is not None:
        yield f"It belongs to the family of {claim.family}, which should have one owner."
    if claim.at_risk:
        yield "It is at risk."


def _candidates(page: Page, policy: Policy, owned: Ownership, names: Names, *, everybody: bool) -> None:
    claim = owned.claim
    if claim is None:
        return
    listed = [one for one in owned.candidates if everybody or one.excluded is None or _is_near(one.csm, claim)]
    if not listed:
        page.line("  nobody")
    columns = [
        Column("CSM"),
        Column("Name", flexible=True),
        Column("Book", right=True),
        Column("Value", right=True),
        Column("", right=True),
    ]
    page.table(columns, [_candidate(one, claim, policy, names) for one in listed])
    others = Counter(one.excluded for one in owned.candidates if one not in listed)
    for why, people in sorted(others.items(), key=lambda pair: (-pair[1], pair[0] or "")):
        page.line(f"  and {counted(people, 'other')}: {why}")


def _is_near(csm: Csm, claim: Claim) -> bool:
    """Whether somebody would ask about this CSM: they own the account, did, or have some of its family."""
    return csm.csm_id in {claim.owner_id, claim.pinned_to, *claim.former_owners} or claim.family in csm.families


def _candidate(one: Candidate, claim: Claim, policy: Policy, names: Names) -> Row:
    csm = one.csm
    marks = [
        ("owner", csm.csm_id == claim.owner_id),
        ("former owner", csm.csm_id in claim.former_owners),
        ("family", claim.family is not None and claim.family in csm.families),
    ]
    return Row(
        (
            csm.csm_id,
            names.csms.get(csm.csm_id, ""),
            f"{csm.accounts:,} of {csm.max_accounts:,}",
            short_money(csm.value, policy.currency),
            ", ".join(mark for mark, is_so in marks if is_so),
        ),
        note=one.excluded or "",
    )


# ---- For programs --------------------------------------------------------------------------------------------------


def write_explanation_json(out: IO[str], policy: Policy, told: Explanation) -> None:
    """One object: `schema`, `as_of`, `policy`, `account`, `band` and `owner`; every candidate is in it."""
    told_of = {
        "schema": SCHEMA,
        "as_of": told.as_of,
        "policy": {"name": policy.name, "sha256": policy.sha256},
        "account": asdict(told.standing),
        "band": _judgement_json(policy, told.judgement) if told.judgement is not None else None,
        "owner": _ownership_json(told.ownership, told.names),
    }
    json.dump(told_of, out, default=_plain, ensure_ascii=False, indent=2)
    out.write("\n")


def _judgement_json(policy: Policy, judged: Judgement) -> dict[str, Any]:
    decision = judged.decision
    return {
        "stage": judged.stage,
        "own_band": judged.own_band,
        "earned_band": judged.earned_band,
        "value": judged.value,
        "family": asdict(judged.family) if judged.family else None,
        "outcome": "stay" if decision is None else decision.outcome,
        "move": decision.move if decision else None,
        "to_band": decision.to_band if decision else judged.band,
        "reason": reason(policy, decision) if decision else None,
        "rules": [_reading_json(reading) for reading in judged.readings],
        "against": [
            {"rule": one.rule.name, "lens": one.kind, "band": one.band, "facts": one.facts} for one in judged.objections
        ],
    }


def _reading_json(reading: Reading) -> dict[str, Any]:
    return {
        "rule": reading.rule.name,
        "move": reading.rule.move,
        "when": describe(reading.rule.when),
        "lens": reading.kind,
        "band": reading.band,
        "holds": reading.holds,
        "facts": reading.facts,
        "came_of": reading.came_of,
    }


def _ownership_json(owned: Ownership, names: Names) -> dict[str, Any]:
    claim, change = owned.claim, owned.change
    return {
        "needs_one": claim is not None,
        "owner_id": claim.owner_id if claim else None,
        "last_change": asdict(owned.last) if owned.last else None,
        "settles": owned.settles,
        "change": {"to_owner_id": change.to_owner_id, "why": change.why, "reason": change.reason} if change else None,
        "waiting_since": owned.waiting.since if owned.waiting else None,
        "family": claim.family if claim else None,
        "former_owners": list(claim.former_owners) if claim else [],
        "locked": bool(claim and claim.locked),
        "notes": list(owned.notes),
        "candidates": [_candidate_json(one, names) for one in owned.candidates],
    }


def _candidate_json(one: Candidate, names: Names) -> dict[str, Any]:
    csm = one.csm
    return {
        "csm_id": csm.csm_id,
        "name": names.csms.get(csm.csm_id),
        "accounts": csm.accounts,
        "max_accounts": csm.max_accounts,
        "value": csm.value,
        "max_book": csm.max_book,
        "excluded": one.excluded,
    }


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return instant(value)
        case Decimal():
            return float(value)
        case _:
            return str(value)
