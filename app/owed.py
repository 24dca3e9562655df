"""Whether each run left the messages it owes, and no others."""

from collections.abc import Iterator

from sqlalchemy import Text, and_, case, cast, func, or_, select, true, union

from app.messages import BLOCKED, DIGEST, LAPSED, RUN_FAILED, SKIPPED, SLOT_FAILED, SUMMARY
from app.offenders import Offenders, all_of, beside, number, offender, per_run
from app.tables import band_history, outbox, owner_history, runs

_IN_EFFECT = ("applied", "nothing")


def messages_amiss() -> Offenders:
    """I9: each run that changed anything left one summary, and one digest for each CSM whose book changed.

    One that was blocked asked for approval, one that lapsed said so, and none told of what did not happen to it.
    """
    told = per_run(outbox.c.run_id, outbox.c.topic == SUMMARY, "told")
    moved, handed = per_run(band_history.c.run_id, true(), "moved"), per_run(owner_history.c.run_id, true(), "handed")
    changed = or_(moved.c.rows.is_not(None), handed.c.rows.is_not(None))
    summaries = (
        offender(cast(runs.c.run_id, Text), "has ", number(told.c.rows), " summaries to send")
        .select_from(beside(told, moved, handed))
        .where(runs.c.status.in_(_IN_EFFECT), runs.c.kind != "import")
        .where(func.coalesce(told.c.rows, 0) != case((changed, 1), else_=0))
    )
    ours = select(runs.c.run_id).where(runs.c.kind == "import")
    concerned = union(*(
        select(owner_history.c.run_id, csm_id.label("csm_id"))
        .where(csm_id.is_not(None), owner_history.c.run_id.not_in(ours))
        for csm_id in (owner_history.c.from_owner_id, owner_history.c.to_owner_id)
    )).subquery("concerned")  # fmt: skip
    digest = select(outbox.c.run_id, outbox.c.recipient).where(outbox.c.topic == DIGEST).distinct().subquery("digest")
    same = and_(digest.c.run_id == concerned.c.run_id, digest.c.recipient == concerned.c.csm_id)
    missing = case((digest.c.run_id.is_(None), "has no digest for "), else_="has a digest too many for ")
    digests = (
        offender(
            cast(func.coalesce(concerned.c.run_id, digest.c.run_id), Text),
            missing,
            func.coalesce(concerned.c.csm_id, digest.c.recipient),
        )
        .select_from(concerned.join(digest, same, full=True))
        .where(or_(digest.c.run_id.is_(None), concerned.c.run_id.is_(None)))
    )
    return all_of(summaries, digests, *_operation_amiss())


def _operation_amiss() -> Iterator[Offenders]:
    """What the runs that did not take effect have told, too little or too much.

    A failure that may pass by itself is not told, and of several skipped slots one message tells.
    """
    must = {
        BLOCKED: runs.c.lapses_at.is_not(None),  # runs of before there were approvals asked for none
        LAPSED: runs.c.answer == "lapsed",
    }
    failed = runs.c.status == "failed"
    may = {RUN_FAILED: failed, SLOT_FAILED: failed, SKIPPED: runs.c.status == "skipped"}
    for topic, concerned in (must | may).items():
        sent = per_run(outbox.c.run_id, outbox.c.topic == topic, "sent")
        count, most = func.coalesce(sent.c.rows, 0), case((concerned, 1), else_=0)
        yield (
            offender(cast(runs.c.run_id, Text), "has ", number(sent.c.rows), f" messages {topic} to send")
            .select_from(beside(sent))
            .where(count != most if topic in must else count > most)
        )
