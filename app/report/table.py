"""The report for people: what a CS-ops lead reads on Monday and forwards.

What was evaluated comes first, then what moves and why, then what it does to people's books, then what needs a person.
Same plan, same names, same width: the same bytes.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import IO

from app.figures import counted, day, money, sentence, short_money
from app.plan import Book, Decision, LapsedPin, OwnerChange, Plan, Verdict
from app.policy.model import Policy
from app.reasons import because
from app.report.names import Names
from app.report.page import Column, Page, Row
from app.report.summary import Group, Head, Move, Summary

_VERBS = {
    "leave": "Left",
    "enter": "Entered",
    "pin": "Pinned",
    "graduate": "Graduated",
    "intervene": "Lifted for a while",
    "demote": "Demoted",
    "return": "Returned",
    "settle": "Settled",
}


def write_table(
    out: IO[str],
    policy: Policy,
    plan: Plan,
    summary: Summary,
    names: Names,
    *,
    title: str,
    ending: str,
) -> None:
    """The whole report is written to `out`: `title` at the top, `ending` (what happens next) at the bottom.

    Lines of the ending that are indented are commands to copy, and are not wrapped.
    """
    page = Page(out)
    _opening(page, policy, plan, summary, title)
    _bands(page, policy, plan, summary)
    _flows(page, policy, summary)
    for group in summary.groups:
        _group(page, policy, group, names)
    _reassigned(page, policy, summary.reassigned, names)
    _books(page, policy, summary.books, names)
    _waitlist(page, policy, plan.as_of, summary, names)
    _decisions(page, policy, "Pending, until enough weekly runs in a row agree", summary.pending, names)
    _decisions(page, policy, "For review, protected from moving by themselves", summary.reviews, names)
    _decisions(page, policy, "Contested, rules pull both ways and nothing moves", summary.contested, names)
    _missing(page, plan)
    _lapsed(page, policy, plan.lapsed_pins)
    _notes(page, plan.notes)
    _guards(page, plan.verdicts)
    page.line()
    for line in ending.splitlines():
        if line.startswith(" "):
            page.line(line)
        else:
            page.paragraph(line, style="bold")


def _opening(page: Page, policy: Policy, plan: Plan, summary: Summary, title: str) -> None:
    moved = sum((group.value for group in summary.groups), Decimal(0))
    notes = [
        (summary.pending.total, "pending"),
        (summary.reviews.total, "for review"),
        (summary.contested.total, "contested"),
        (summary.waitlist.total, "waiting for an owner"),
    ]
    noted = ", ".join(f"{count:,} {what}" for count, what in notes if count)
    page.line(title, style="bold")
    rows = [
        ("As of", f"{plan.as_of:%Y-%m-%d %H:%M} {plan.as_of.tzname() or ''}"),
        ("Policy", f"{plan.policy_name} ({plan.policy_sha[:12]})"),
        ("Accounts", f"{plan.census.accounts:,} active, {short_money(plan.census.arr, policy.currency)} ARR"),
        ("Moves", f"{counted(summary.moved, 'account')}, {short_money(moved, policy.currency)}"),
        ("Owners", f"{counted(len(plan.owner_changes), 'account')} with another owner, or none"),
        ("Open", noted or "nothing"),
    ]
    page.table([Column(""), Column("")], [Row(row) for row in rows], indent=0)


def _bands(page: Page, policy: Policy, plan: Plan, summary: Summary) -> None:
    """How many active accounts each band has before and after."""
    page.heading("Bands")
    rows = []
    for band in plan.census.bands:
        # Who left is no active account before the run either.
        staying = [flow for flow in summary.flows if flow.to_band is not None]
        arriving = sum(flow.accounts for flow in staying if flow.to_band == band.band)
        leaving = sum(flow.accounts for flow in staying if flow.from_band == band.band)
        if band.band is None and not band.accounts:
            continue
        cells = (
            band.band or "not yet in a band",
            f"{band.accounts:,}",
            f"+{arriving:,}" if arriving else "",
            f"-{leaving:,}" if leaving else "",
            f"{band.accounts + arriving - leaving:,}",
            short_money(band.value, policy.currency),
        )
        rows.append(Row(cells))
    figures = ("Before", "In", "Out", "After", "Value before")
    page.table([Column("Band"), *(Column(title, right=True) for title in figures)], rows)


def _flows(page: Page, policy: Policy, summary: Summary) -> None:
    if not summary.flows:
        return
    page.heading("Flows between bands")
    rows = [
        Row(
            (
                flow.from_band or "(new)",
                flow.to_band or "(left)",
                f"{flow.accounts:,}",
                short_money(flow.value, policy.currency),
            )
        )
        for flow in summary.flows
    ]
    page.table([Column("From"), Column("To"), Column("Accounts", right=True), Column("Value", right=True)], rows)


def _group(page: Page, policy: Policy, group: Group, names: Names) -> None:
    verb = _VERBS[group.move]
    by = "" if group.rule in {"entry", "left", "pin"} else f" by {group.rule}"
    worth = short_money(group.value, policy.currency)
    page.heading(f"{verb}{by}: {counted(group.moves.total, 'account')}, {worth}")
    why = [_sentence(policy, move.decision) for move in group.moves.shown]
    # Said once for all of them; for those not shown only where the sentence has no figures.
    shared = len(why) > 1 and len(set(why)) == 1 and (not group.moves.left_out or _has_no_figures(group))
    if shared:
        page.paragraph(why[0], indent=2)
    columns = [
        Column("Account"),
        Column("Name", flexible=True),
        Column("Move"),
        Column("Value", right=True),
        Column("Owner after"),
    ]
    rows = [
        Row(
            (
                move.decision.account_id,
                names.accounts.get(move.decision.account_id, ""),
                _arrow(move.decision),
                _money(move.decision.value, policy),
                _owner(move, policy, names),
            ),
            note="" if shared else told,
        )
        for move, told in zip(group.moves.shown, why, strict=True)
    ]
    page.table(columns, rows)
    _cut(page, group.moves.left_out)


def _has_no_figures(group: Group) -> bool:
    return all(move.decision.facts == "{}" for move in group.moves.shown)


def _reassigned(page: Page, policy: Policy, changes: Head[OwnerChange], names: Names) -> None:
    if not changes.total:
        return
    page.heading(f"New owners in the same band: {counted(changes.total, 'account')}")
    rows = [
        Row(
            (
                change.account_id,
                names.accounts.get(change.account_id, ""),
                f"{change.from_owner_id or 'the pool'} -> {change.to_owner_id or 'the pool'}",
                _money(change.value, policy),
            ),
            note=sentence(change.reason),
        )
        for change in changes.shown
    ]
    page.table([Column("Account"), Column("Name", flexible=True), Column("Owner"), Column("Value", right=True)], rows)
    _cut(page, changes.left_out)


def _books(page: Page, policy: Policy, books: Head[Book], names: Names) -> None:
    if not books.total:
        return
    page.heading("Owners' books")
    rows = [
        Row(
            (
                book.csm_id,
                names.csms.get(book.csm_id, ""),
                f"{book.accounts_before:,} -> {book.accounts_after:,} of {book.max_accounts:,}",
                " -> ".join(_taken(accounts, book) for accounts in (book.accounts_before, book.accounts_after)),
                " -> ".join(short_money(value, policy.currency) for value in (book.value_before, book.value_after)),
                f"+{book.arrivals:,} -{book.departures:,}",
            ),
            style="yellow" if book.accounts_after > book.max_accounts else None,
        )
        for book in books.shown
    ]
    columns = [
        Column("CSM"),
        Column("Name", flexible=True),
        Column("Accounts", right=True),
        Column("Full", right=True),
        Column("Value", right=True),
        Column("Changes", right=True),
    ]
    page.table(columns, rows)
    _cut(page, books.left_out)


def _taken(accounts: int, book: Book) -> str:
    """What part of the book's size is taken; of a book of no size nothing can be said."""
    return f"{round(100 * accounts / book.max_accounts)}%" if book.max_accounts > 0 else "-"


def _waitlist(page: Page, policy: Policy, as_of: datetime, summary: Summary, names: Names) -> None:
    if not summary.waitlist.total:
        return
    page.heading(f"Waitlist, no CSM has room: {counted(summary.waitlist.total, 'account')}")
    rows = [
        Row(
            (
                waiting.account_id,
                names.accounts.get(waiting.account_id, ""),
                waiting.band,
                _money(waiting.value, policy),
                counted(max((as_of - waiting.since).days, 0), "day"),
            )
        )
        for waiting in summary.waitlist.shown
    ]
    columns = [
        Column("Account"),
        Column("Name", flexible=True),
        Column("Band"),
        Column("Value", right=True),
        Column("Waiting", right=True),
    ]
    page.table(columns, rows)
    _cut(page, summary.waitlist.left_out)


def _decisions(page: Page, policy: Policy, title: str, decisions: Head[Decision], names: Names) -> None:
    if not decisions.total:
        return
    page.heading(f"{title}: {counted(decisions.total, 'account')}")
    rows = [
        Row(
            (
                decision.account_id,
                names.accounts.get(decision.account_id, ""),
                _arrow(decision),
                _money(decision.value, policy),
                _standing(policy, decision),
            ),
            note=_sentence(policy, decision),
        )
        for decision in decisions.shown
    ]
    columns = [
        Column("Account"),
        Column("Name", flexible=True),
        Column("Move"),
        Column("Value", right=True),
        Column("Rule"),
    ]
    page.table(columns, rows)
    _cut(page, decisions.left_out)


def _standing(policy: Policy, decision: Decision) -> str:
    """The rule, with how many of its weeks a pending decision has behind it; of a contested one the sentence tells."""
    if decision.outcome == "contested":
        return ""
    if decision.outcome == "pending":
        return f"{decision.rule} {decision.weeks}/{policy.rule[decision.rule].confirm_weeks}"
    return decision.rule


def _missing(page: Page, plan: Plan) -> None:
    missing = sorted((-count, fact) for fact, count in plan.census.missing.items() if count)
    if not missing:
        return
    page.heading("Missing facts, over which a rule does not fire")
    accounts = max(plan.census.accounts, 1)
    rows = [Row((fact, f"{-count:,}", _share(-count, accounts))) for count, fact in missing]
    page.table([Column("Fact"), Column("Accounts", right=True), Column("Share", right=True)], rows)


def _share(part: int, whole: int) -> str:
    return "under 1%" if part * 100 < whole else f"{part * 100 // whole}%"


def _notes(page: Page, notes: Sequence[str]) -> None:
    if notes:
        page.heading("What could not be done as asked")
    for note in notes:
        page.paragraph(note, indent=2)


def _lapsed(page: Page, policy: Policy, pins: Sequence[LapsedPin]) -> None:
    """The pins that ended since the last run: from now on the rules decide about these accounts again."""
    if not pins:
        return
    page.heading(f"Pins that lapsed since the last run: {counted(len(pins), 'account')}")
    rows = [
        Row(
            (
                pin.account_id,
                " and ".join(filter(None, (pin.band, pin.owner_id))),
                day(pin.expires_at.astimezone(policy.calendar.time_zone)),
            ),
            note=sentence(f"{pin.pinned_by}: {pin.reason}"),
        )
        for pin in pins
    ]
    page.table([Column("Account"), Column("Was pinned to"), Column("Until")], rows)


def _guards(page: Page, verdicts: Sequence[Verdict]) -> None:
    if not verdicts:
        return
    page.heading("Guards")
    rows = [
        Row(
            ("STOP" if verdict.tripped else "ok", verdict.guard),
            note=verdict.detail,
            style="red" if verdict.tripped else None,
        )
        for verdict in verdicts
    ]
    page.table([Column(""), Column("")], rows)


def _cut(page: Page, left_out: int) -> None:
    if left_out:
        page.line(f"  ... and {left_out:,} more; --all shows {'it' if left_out == 1 else 'them'}")


def _sentence(policy: Policy, decision: Decision) -> str:
    return sentence(because(policy, decision))


def _arrow(decision: Decision) -> str:
    if decision.from_band == decision.to_band:
        return f"stays in {decision.to_band}"
    return f"{decision.from_band or '(new)'} -> {decision.to_band or '(left)'}"


def _money(value: Decimal | None, policy: Policy) -> str:
    return "unknown" if value is None else money(value.quantize(Decimal(1)), policy.currency)


def _owner(move: Move, policy: Policy, names: Names) -> str:
    if move.to_owner_id is not None:
        return names.csms.get(move.to_owner_id, move.to_owner_id)
    band = policy.band.get(move.decision.to_band or "")
    if band is None:
        return "none"
    return "the pool" if band.pooled else "waits"
