-- The peer: the default policy's decisions and writes as one would write them by hand, for psql.
--
--   psql -X -v as_of=2026-11-16T06:00:00+00:00 -v apply=0 -f bench/peer.sql    every decision, as CSV, on stdout
--   psql -X -v as_of=2026-11-16T06:00:00+00:00 -v apply=1 -f bench/peer.sql    the same, written in one transaction
--
-- Written to be fast, for this policy and no other: thresholds are literals, measurements are read for those accounts
-- only of which a rule could have something to say, and what does not occur in the benchmark's data is left out: an
-- intervention in force or spent, a band that the policy no longer has, an account that fell before or that is gone from
-- `accounts`, a pin to an owner. It takes no census, asks no guard, keeps no policy text, and hands seats out by number
-- without looking at the value of a book. So it does less than bandshift, never more; bench/run.py compares the moves.

\set ON_ERROR_STOP on
\set QUIET on
\pset format csv
\pset tuples_only on
SET TimeZone = 'UTC';
SET jit = off;
SET work_mem = '256MB';
SET max_parallel_workers_per_gather = 2;

BEGIN;

-- ---- Candidates: what is true of each account by its own row, with its events (few, by the index on kind) ----------------

CREATE TEMP TABLE candidates ON COMMIT DROP AS
WITH standing AS (
    SELECT
        a.account_id,
        a.status = 'active' AS active,
        c.account_id IS NOT NULL AS covered,
        CASE c.band WHEN 'tech' THEN 0 WHEN 'low' THEN 1 WHEN 'high' THEN 2 WHEN 'strategic' THEN 3 END AS rank,
        CASE a.segment WHEN 'enterprise' THEN 4800.00 WHEN 'self_serve' THEN 9000.00 ELSE 7200.00 END AS low_floor,
        CASE a.segment WHEN 'enterprise' THEN 30000.00 WHEN 'self_serve' THEN 56250.00 ELSE 45000.00 END AS high_floor,
        CASE a.segment WHEN 'enterprise' THEN 180000.00 WHEN 'self_serve' THEN 337500.00 ELSE 270000.00 END AS top_floor,
        CASE WHEN coalesce(a.currency, 'USD') = 'USD' THEN a.arr + coalesce(a.expansion_arr, 0) END AS value,
        a.segment, a.region, a.strategic_importance, a.contract_term_months, a.renewal_on, a.adoption, a.last_engaged_at,
        greatest(a.last_engaged_at, c.band_since) AS quiet_since,
        coalesce(a.contract_term_months >= 24 AND a.adoption >= 0.6
            AND a.renewal_on > :'as_of'::timestamptz::date + 365, false) AS long_term,
        coalesce(a.renewal_on BETWEEN :'as_of'::timestamptz::date AND :'as_of'::timestamptz::date + 90, false)
            AS renewal_near,
        c.band, c.band_since, c.band_rule, c.owner_id, c.held_by, c.held_from, c.pending
    FROM accounts a
    LEFT JOIN coverage c USING (account_id)
    WHERE a.status = 'active' OR c.account_id IS NOT NULL
),
valued AS (
    SELECT
        *,
        CASE WHEN value >= top_floor THEN 3 WHEN value >= high_floor THEN 2 WHEN value >= low_floor THEN 1
             WHEN value IS NOT NULL THEN 0 END AS earned,
        0.85 * CASE rank WHEN 3 THEN top_floor WHEN 2 THEN high_floor WHEN 1 THEN low_floor END AS demotion_floor,
        active AND covered AND (band_rule = 'import' OR band_since <= :'as_of'::timestamptz - interval '6 days') AS judged
    FROM standing
),
events AS (
    SELECT
        account_id,
        max(occurred_at) FILTER (WHERE kind = 'api_ticket') AS api_ticket_at,
        max(occurred_at) FILTER (WHERE kind = 'strategic_use_case') AS use_case_at,
        max(occurred_at) FILTER (WHERE kind = 'champion_left') AS left_at,
        max(occurred_at) FILTER (WHERE kind = 'champion_joined') AS joined_at
    FROM account_signals
    WHERE occurred_at <= :'as_of'::timestamptz
      AND (kind = 'api_ticket' AND occurred_at > :'as_of'::timestamptz - interval '60 days'
           OR kind = 'strategic_use_case' AND occurred_at > :'as_of'::timestamptz - interval '180 days'
           OR kind = 'champion_left' OR kind = 'champion_joined')
    GROUP BY account_id
)
SELECT
    v.*, p.band AS pinned_band, e.left_at, e.joined_at,
    coalesce(e.api_ticket_at > v.band_since, false) AS api_ticket,
    coalesce(e.use_case_at > v.band_since, false) AS use_case,
    coalesce(e.left_at > v.band_since, false) AND e.left_at > :'as_of'::timestamptz - interval '180 days' AS left_lately
FROM valued v
LEFT JOIN events e USING (account_id)
LEFT JOIN pins p ON p.account_id = v.account_id AND p.unpinned_at IS NULL AND p.band IS NOT NULL
    AND p.expires_at > :'as_of'::timestamptz
WHERE NOT v.active OR NOT v.covered OR p.band <> v.band
   OR v.judged AND p.band IS NULL AND (
       v.earned > v.rank
       OR v.value < v.demotion_floor
       OR v.rank = 2 AND v.long_term
       OR v.rank = 2 AND v.quiet_since <= :'as_of'::timestamptz - interval '61 days'
       OR v.rank = 3 AND v.quiet_since <= :'as_of'::timestamptz - interval '29 days'
       OR v.rank = 1 AND (v.segment = 'mid_market' OR v.renewal_near AND v.adoption < 0.4)
       OR v.rank >= 2 AND e.left_at IS NOT NULL
       OR v.rank IN (1, 2) AND e.use_case_at IS NOT NULL AND v.strategic_importance >= 3
       OR v.rank <= 1 AND e.api_ticket_at IS NOT NULL
       OR v.pending IS NOT NULL
   );
ANALYZE candidates;

-- ---- Decisions: the measurements of the candidates, then the rules --------------------------------------------------------

CREATE TEMP TABLE decided ON COMMIT DROP AS
WITH measured AS (
    -- The latest value of a kind is the second element of the greatest [instant, value].
    SELECT
        s.account_id,
        (max(ARRAY[extract(epoch FROM occurred_at), s.value])
            FILTER (WHERE kind = 'health' AND occurred_at > :'as_of'::timestamptz - interval '45 days'))[2] AS health,
        (max(ARRAY[extract(epoch FROM occurred_at), s.value])
            FILTER (WHERE kind = 'usage' AND occurred_at > :'as_of'::timestamptz - interval '30 days'))[2] AS usage_now,
        (max(ARRAY[extract(epoch FROM occurred_at), s.value])
            FILTER (WHERE kind = 'usage' AND occurred_at <= :'as_of'::timestamptz - interval '60 days'))[2] AS usage_before,
        (max(ARRAY[extract(epoch FROM occurred_at), s.value])
            FILTER (WHERE kind = 'seats' AND occurred_at > :'as_of'::timestamptz - interval '60 days'))[2] AS seats_now,
        (max(ARRAY[extract(epoch FROM occurred_at), s.value])
            FILTER (WHERE kind = 'seats' AND occurred_at <= :'as_of'::timestamptz - interval '90 days'))[2] AS seats_before,
        max(occurred_at) FILTER (WHERE kind = 'seats') AS seats_at,
        count(*) FILTER (WHERE kind = 'meeting' AND occurred_at > :'as_of'::timestamptz - interval '30 days') AS meetings,
        count(*) FILTER (WHERE kind = 'meeting' AND occurred_at <= :'as_of'::timestamptz - interval '30 days'
            AND occurred_at > :'as_of'::timestamptz - interval '60 days') AS meetings_before
    FROM account_signals s
    JOIN candidates c USING (account_id)
    WHERE occurred_at <= :'as_of'::timestamptz AND kind IN ('health', 'usage', 'seats', 'meeting')
      AND (c.long_term OR c.api_ticket OR c.rank >= 2 OR c.rank = 1 AND c.segment = 'mid_market')
    GROUP BY s.account_id
),
conditions AS (
    SELECT
        c.*, m.health, m.usage_now, m.usage_before, m.seats_now, m.seats_before, m.meetings, m.meetings_before,
        rules.*,
        coalesce(health < 50, false) OR renewal_near AS protected
    FROM candidates c
    LEFT JOIN measured m USING (account_id)
    CROSS JOIN LATERAL (
        SELECT
            judged AND pinned_band IS NULL AS ruled,
            coalesce(m.health >= 80, false) AND long_term AS locked_in,
            rank = 2 AND coalesce(quiet_since <= :'as_of'::timestamptz - interval '61 days', false)
                AND last_engaged_at IS NOT NULL
            OR rank = 3 AND coalesce(quiet_since <= :'as_of'::timestamptz - interval '29 days', false)
                AND last_engaged_at IS NOT NULL AS quiet,
            rank >= 2 AND segment IS DISTINCT FROM 'enterprise' AND coalesce(left_lately, false)
                AND left_at <= :'as_of'::timestamptz - interval '30 days'
                AND coalesce(floor(extract(epoch FROM :'as_of'::timestamptz - joined_at) / 86400)
                    > floor(extract(epoch FROM :'as_of'::timestamptz - left_at) / 86400), true) AS champion_left,
            rank >= 1 AND coalesce(value < demotion_floor, false) AS value_lost,
            rank IN (1, 2) AND use_case AND coalesce(strategic_importance >= 3, false) AS use_case_filed,
            rank <= 1 AND api_ticket AND coalesce(m.seats_now >= 2 * m.seats_before, false)
                AND coalesce(m.seats_at > greatest(band_since, :'as_of'::timestamptz - interval '60 days'), false)
                AS expansion,
            coalesce(earned > rank, false) AS value_gained,
            rank = 1 AND segment = 'mid_market' AND coalesce(m.usage_now < 0.7 * m.usage_before, false)
                AND m.meetings < m.meetings_before AS usage_decline,
            rank = 1 AND renewal_near AND coalesce(adoption < 0.4, false) AS renewal_rescue
    ) AS rules
    OFFSET 0 -- a fence, here and below: or Postgres would repeat each expression wherever it is used
),
confirmed AS (
    SELECT
        *,
        CASE WHEN rank = 2 AND locked_in THEN CASE WHEN pending -> 'locked' IS NULL THEN 1
            ELSE (pending -> 'locked' ->> 'weeks')::int + ((pending -> 'locked' ->> 'seen_at')::timestamptz
                <= :'as_of'::timestamptz - interval '6 days')::int END END AS locked_weeks,
        CASE WHEN value_lost THEN CASE WHEN pending -> 'value_lost' IS NULL THEN 1
            ELSE (pending -> 'value_lost' ->> 'weeks')::int + ((pending -> 'value_lost' ->> 'seen_at')::timestamptz
                <= :'as_of'::timestamptz - interval '6 days')::int END END AS lost_weeks,
        CASE WHEN value_gained THEN CASE WHEN pending -> 'value_gained' IS NULL THEN 1
            ELSE (pending -> 'value_gained' ->> 'weeks')::int + ((pending -> 'value_gained' ->> 'seen_at')::timestamptz
                <= :'as_of'::timestamptz - interval '6 days')::int END END AS gained_weeks,
        -- The highest band that it may be given for its value: neither locked out nor held down.
        CASE WHEN held_by IN ('champion_left', 'locked') THEN NULL
             WHEN earned = 3 AND NOT coalesce(held_by = 'quiet'
                AND last_engaged_at <= :'as_of'::timestamptz - interval '29 days', false) THEN 3
             WHEN earned >= 2 AND rank < 2 AND NOT locked_in AND NOT coalesce(held_by = 'quiet'
                AND last_engaged_at <= :'as_of'::timestamptz - interval '61 days', false) THEN 2
             WHEN earned >= 1 AND rank < 1 THEN 1 END AS gained_rank
    FROM conditions
    OFFSET 0
),
judgements AS (
    SELECT
        *,
        CASE WHEN ruled THEN CASE WHEN usage_decline THEN 'usage_decline' WHEN renewal_rescue THEN 'renewal_rescue' END END
            AS lifts,
        CASE WHEN ruled THEN CASE
            WHEN quiet AND NOT protected THEN 'quiet'
            WHEN champion_left AND NOT protected THEN 'champion_left'
            WHEN locked_weeks >= 2 AND band_since <= :'as_of'::timestamptz - interval '56 days' THEN 'locked'
            WHEN lost_weeks >= 3 AND may_lose AND NOT renewal_near THEN 'value_lost' END END AS demotes,
        CASE WHEN ruled THEN CASE
            WHEN use_case_filed THEN 'strategic_use_case'
            WHEN expansion AND NOT (rank = 1 AND locked_in) THEN 'expansion'
            WHEN gained_weeks >= 2 AND gained_rank IS NOT NULL THEN 'value_gained' END END AS graduates,
        CASE WHEN ruled THEN CASE
            WHEN quiet AND protected THEN 'quiet'
            WHEN champion_left AND protected THEN 'champion_left'
            WHEN lost_weeks >= 3 AND may_lose AND renewal_near THEN 'value_lost' END END AS reviewed,
        CASE WHEN ruled THEN CASE
            WHEN locked_weeks < 2 AND band_since <= :'as_of'::timestamptz - interval '56 days' THEN 'locked'
            WHEN lost_weeks < 3 AND may_lose THEN 'value_lost'
            WHEN gained_weeks < 2 AND gained_rank IS NOT NULL THEN 'value_gained' END END AS waits,
        CASE WHEN ruled THEN CASE WHEN coalesce(locked_weeks, lost_weeks, gained_weeks) IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object(
            'locked', CASE WHEN locked_weeks IS NOT NULL THEN jsonb_build_object('weeks', locked_weeks, 'seen_at',
                CASE WHEN locked_weeks = (pending -> 'locked' ->> 'weeks')::int THEN pending -> 'locked' -> 'seen_at'
                    ELSE to_jsonb(:'as_of'::timestamptz) END) END,
            'value_lost', CASE WHEN lost_weeks IS NOT NULL THEN jsonb_build_object('weeks', lost_weeks, 'seen_at',
                CASE WHEN lost_weeks = (pending -> 'value_lost' ->> 'weeks')::int THEN pending -> 'value_lost' -> 'seen_at'
                    ELSE to_jsonb(:'as_of'::timestamptz) END) END,
            'value_gained', CASE WHEN gained_weeks IS NOT NULL THEN jsonb_build_object('weeks', gained_weeks, 'seen_at',
                CASE WHEN gained_weeks = (pending -> 'value_gained' ->> 'weeks')::int
                    THEN pending -> 'value_gained' -> 'seen_at' ELSE to_jsonb(:'as_of'::timestamptz) END) END
        )) END ELSE pending END AS still_pending
    FROM confirmed
    CROSS JOIN LATERAL (
        SELECT band_since <= :'as_of'::timestamptz - interval '28 days' AND NOT (
            band_rule IN ('strategic_use_case', 'expansion')
            AND band_since > :'as_of'::timestamptz - interval '182 days') AS may_lose
    ) AS stay
    OFFSET 0
),
outcomes AS (
    SELECT
        *,
        CASE WHEN NOT active OR NOT covered OR pinned_band <> band OR lifts IS NOT NULL THEN 'move'
             WHEN demotes IS NOT NULL AND graduates IS NOT NULL THEN 'contested'
             WHEN demotes IS NOT NULL OR graduates IS NOT NULL THEN 'move'
             WHEN reviewed IS NOT NULL THEN 'review'
             WHEN waits IS NOT NULL THEN 'pending'
             WHEN still_pending IS DISTINCT FROM pending THEN 'state' END AS outcome,
        CASE WHEN NOT active THEN 'left' WHEN pinned_band IS NOT NULL THEN 'pin' WHEN NOT covered THEN 'entry'
             ELSE coalesce(lifts, graduates, demotes, reviewed, waits) END AS rule
    FROM judgements
    OFFSET 0
)
SELECT
    account_id, outcome,
    CASE WHEN outcome = 'state' THEN NULL
         WHEN rule = 'left' THEN 'leave' WHEN NOT covered THEN 'enter' WHEN rule = 'pin' THEN 'pin'
         WHEN rule IN ('usage_decline', 'renewal_rescue') THEN 'intervene'
         WHEN rule IN ('strategic_use_case', 'expansion', 'value_gained') THEN 'graduate' ELSE 'demote' END AS move,
    rule,
    CASE WHEN outcome = 'contested' THEN demotes END AS against,
    band AS from_band,
    (ARRAY['tech', 'low', 'high', 'strategic'])[1 + CASE
        WHEN rule = 'left' THEN NULL
        WHEN rule = 'pin' THEN array_position(ARRAY['tech', 'low', 'high', 'strategic'], pinned_band) - 1
        WHEN rule = 'entry' THEN coalesce(earned - (earned = 2 AND locked_in)::int, 0)
        WHEN rule IN ('usage_decline', 'renewal_rescue') THEN 2
        WHEN rule = 'strategic_use_case' THEN 3
        WHEN rule = 'expansion' THEN rank + 1
        WHEN rule = 'value_gained' THEN gained_rank
        WHEN rule = 'value_lost' THEN earned
        ELSE rank - 1 END] AS to_band,
    value, region, owner_id, still_pending, pending AS was_pending, held_by, held_from,
    CASE rule
        WHEN 'quiet' THEN 'nobody has engaged for ' || :'as_of'::timestamptz::date - quiet_since::date
            || ' days, over two cycles of ' || CASE rank WHEN 3 THEN '14' ELSE '30' END
        WHEN 'champion_left' THEN 'its champion left ' || :'as_of'::timestamptz::date - left_at::date
            || ' days ago and was not replaced'
        WHEN 'locked' THEN 'it is locked in for ' || contract_term_months || ' months until ' || renewal_on
            || ', with health ' || health || ' and ' || adoption || ' adoption'
        WHEN 'value_lost' THEN 'its value of ' || value || ' is under ' || demotion_floor
            || ', the least that keeps its band'
        WHEN 'strategic_use_case' THEN 'it filed a strategic use case and its strategic importance is '
            || strategic_importance
        WHEN 'expansion' THEN 'seats grew from ' || seats_before || ' to ' || seats_now
            || ' and it asked for an API integration'
        WHEN 'value_gained' THEN 'its value of ' || value || ' carries a higher band'
        WHEN 'usage_decline' THEN 'usage fell from ' || usage_before || ' to ' || usage_now
            || ' in 60 days and meetings from ' || meetings_before || ' to ' || meetings
        WHEN 'renewal_rescue' THEN 'it renews on ' || renewal_on || ' with ' || adoption || ' adoption'
        WHEN 'left' THEN 'it is no longer a customer'
        ELSE 'it enters with a value of ' || coalesce(value::text, 'nothing known') END AS reason,
    jsonb_build_object(
        'facts', CASE rule
            WHEN 'quiet' THEN jsonb_build_object('last_engaged_at', last_engaged_at, 'health', health,
                'renewal_on', renewal_on)
            WHEN 'champion_left' THEN jsonb_build_object('champion_left_at', left_at, 'champion_joined_at', joined_at,
                'health', health, 'renewal_on', renewal_on)
            WHEN 'locked' THEN jsonb_build_object('contract_term_months', contract_term_months, 'renewal_on', renewal_on,
                'health', health, 'adoption', adoption)
            WHEN 'value_lost' THEN jsonb_build_object('value', value, 'demotion_floor', demotion_floor,
                'renewal_on', renewal_on)
            WHEN 'strategic_use_case' THEN jsonb_build_object('strategic_importance', strategic_importance)
            WHEN 'expansion' THEN jsonb_build_object('seats_now', seats_now, 'seats_before', seats_before)
            WHEN 'usage_decline' THEN jsonb_build_object('usage_now', usage_now, 'usage_before', usage_before,
                'meetings', meetings, 'meetings_before', meetings_before)
            WHEN 'renewal_rescue' THEN jsonb_build_object('renewal_on', renewal_on, 'adoption', adoption)
            ELSE jsonb_build_object('value', value) END,
        'rules', jsonb_strip_nulls(jsonb_build_object('fired', rule, 'against', demotes, 'graduates', graduates,
            'review', reviewed, 'pending', waits))) AS evidence
FROM outcomes
WHERE outcome IS NOT NULL;
ANALYZE decided;

-- ---- Owners: whoever may keep the account keeps it, else the seats of a band and region are handed out by number -----------

CREATE TEMP TABLE owners ON COMMIT DROP AS
WITH moved AS (
    SELECT
        d.account_id, d.to_band, d.region, d.value, d.owner_id,
        coalesce(o.active AND d.to_band = ANY (o.bands) AND (d.region IS NULL OR d.region = ANY (o.regions)), false)
            AS keeps
    FROM decided d
    LEFT JOIN csms o ON o.csm_id = d.owner_id
    WHERE d.outcome = 'move'
),
claims AS (
    SELECT account_id, to_band AS band, region, value, owner_id, 'band_change' AS why, 3 AS turn
    FROM moved
    WHERE to_band <> 'tech' AND NOT keeps
    UNION ALL
    SELECT c.account_id, c.band, a.region, a.arr + coalesce(a.expansion_arr, 0), c.owner_id, 'departure', 2
    FROM csms o
    JOIN coverage c ON c.owner_id = o.csm_id
    JOIN accounts a USING (account_id)
    WHERE NOT o.active AND a.status = 'active'
      AND NOT EXISTS (SELECT FROM decided d WHERE d.account_id = c.account_id AND d.outcome = 'move')
    UNION ALL
    SELECT c.account_id, c.band, a.region, a.arr + coalesce(a.expansion_arr, 0), NULL, 'waitlist', 1
    FROM coverage c
    JOIN accounts a USING (account_id)
    WHERE c.waiting_since IS NOT NULL AND a.status = 'active'
      AND NOT EXISTS (SELECT FROM decided d WHERE d.account_id = c.account_id AND d.outcome = 'move')
),
released AS (
    SELECT owner_id, count(*) AS accounts FROM moved WHERE NOT keeps AND owner_id IS NOT NULL GROUP BY owner_id
),
books AS (
    SELECT owner_id, count(*) AS accounts FROM coverage WHERE owner_id IS NOT NULL GROUP BY owner_id
),
rooms AS (
    SELECT
        csm_id, bands[1] AS band, regions[1] AS region,
        coalesce(max_accounts, CASE WHEN 'strategic' = ANY (bands) THEN 10 WHEN 'high' = ANY (bands) THEN 40 ELSE 250 END)
            AS most,
        coalesce(b.accounts, 0) - coalesce(r.accounts, 0) AS accounts, max_new_per_run
    FROM csms
    LEFT JOIN books b ON b.owner_id = csm_id
    LEFT JOIN released r ON r.owner_id = csm_id
    WHERE active
),
seats AS (
    SELECT
        csm_id,
        -- One text, for equality on three columns invites a merge of all seats with all claims of a region.
        band || ':' || region || ':' || row_number() OVER (
            PARTITION BY band, region ORDER BY (most - accounts - seat + 1)::numeric / most DESC, csm_id) AS place
    FROM rooms
    CROSS JOIN LATERAL generate_series(1, least(most - accounts, max_new_per_run)) AS seat
),
queue AS (
    SELECT
        *, band || ':' || region || ':' || row_number() OVER (
            PARTITION BY band, region ORDER BY turn, value DESC NULLS LAST, account_id) AS place
    FROM claims
)
SELECT q.account_id, q.owner_id AS from_owner_id, s.csm_id AS to_owner_id, q.why, s.csm_id IS NULL AS waits,
    CASE WHEN s.csm_id IS NULL THEN 'nobody who serves ' || q.band || ' has room, so it waits with the pool'
         ELSE s.csm_id || ' serves ' || q.band || ' and has the most room' END AS reason
FROM queue q
LEFT JOIN seats s USING (place)
UNION ALL
SELECT account_id, owner_id, NULL, CASE WHEN to_band IS NULL THEN 'left' ELSE 'band_change' END, false,
    CASE WHEN to_band IS NULL THEN 'it is no longer an active customer' ELSE 'the pool serves tech' END
FROM moved
WHERE (to_band = 'tech' OR to_band IS NULL) AND owner_id IS NOT NULL;
ANALYZE owners;

\if :apply

-- ---- Writes -----------------------------------------------------------------------------------------------------------

SELECT gen_random_uuid() AS run_id \gset

INSERT INTO runs (run_id, kind, as_of, started_at, finished_at, status, counts)
SELECT :'run_id', 'manual', :'as_of', now(), now(), 'applied', jsonb_object_agg(outcome, accounts)
FROM (SELECT outcome, count(*) AS accounts FROM decided GROUP BY outcome) AS counted;

DELETE FROM coverage c USING decided d
WHERE c.account_id = d.account_id AND d.outcome = 'move' AND d.to_band IS NULL AND c.band = d.from_band;

UPDATE coverage c
SET band = d.to_band,
    band_since = :'as_of',
    band_rule = d.rule,
    owner_id = CASE WHEN o.account_id IS NULL THEN c.owner_id ELSE o.to_owner_id END,
    owner_since = CASE WHEN o.account_id IS NULL THEN c.owner_since WHEN o.to_owner_id IS NOT NULL THEN :'as_of' END,
    first_owned_at = CASE WHEN o.to_owner_id IS NOT NULL THEN coalesce(c.first_owned_at, :'as_of') ELSE c.first_owned_at END,
    waiting_since = CASE WHEN o.waits THEN coalesce(c.waiting_since, :'as_of') END,
    held_by = CASE d.move WHEN 'demote' THEN d.rule WHEN 'pin' THEN NULL
        WHEN 'graduate' THEN CASE WHEN d.to_band = 'low' AND c.held_from IN ('high', 'strategic')
            OR d.to_band = 'high' AND c.held_from = 'strategic' THEN c.held_by END
        ELSE c.held_by END,
    held_from = CASE d.move WHEN 'demote' THEN d.from_band WHEN 'pin' THEN NULL
        WHEN 'graduate' THEN CASE WHEN d.to_band = 'low' AND c.held_from IN ('high', 'strategic')
            OR d.to_band = 'high' AND c.held_from = 'strategic' THEN c.held_from END
        ELSE c.held_from END,
    intervention = CASE WHEN d.move = 'intervene' THEN d.rule END,
    intervention_from = CASE WHEN d.move = 'intervene' THEN d.from_band END,
    intervention_until = CASE WHEN d.move = 'intervene' THEN :'as_of'::timestamptz
        + CASE d.rule WHEN 'usage_decline' THEN interval '56 days' ELSE interval '91 days' END END,
    pending = NULL,
    has_risen = CASE WHEN d.move IN ('graduate', 'intervene') THEN true WHEN d.move = 'pin' THEN false ELSE c.has_risen END
FROM decided d
LEFT JOIN owners o USING (account_id)
WHERE c.account_id = d.account_id AND d.outcome = 'move' AND d.to_band IS NOT NULL AND c.band = d.from_band;

INSERT INTO coverage (account_id, band, band_since, band_rule, owner_id, owner_since, first_owned_at, waiting_since)
SELECT d.account_id, d.to_band, :'as_of', d.rule, o.to_owner_id, CASE WHEN o.to_owner_id IS NOT NULL THEN :'as_of'::timestamptz END,
    CASE WHEN o.to_owner_id IS NOT NULL THEN :'as_of'::timestamptz END, CASE WHEN o.waits THEN :'as_of'::timestamptz END
FROM decided d
LEFT JOIN owners o USING (account_id)
WHERE d.outcome = 'move' AND d.from_band IS NULL;

UPDATE coverage c SET pending = d.still_pending
FROM decided d
WHERE c.account_id = d.account_id AND d.outcome <> 'move' AND d.still_pending IS DISTINCT FROM d.was_pending
  AND c.band = d.from_band;

UPDATE coverage c
SET owner_id = o.to_owner_id, owner_since = CASE WHEN o.to_owner_id IS NOT NULL THEN :'as_of'::timestamptz END,
    first_owned_at = CASE WHEN o.to_owner_id IS NOT NULL THEN coalesce(c.first_owned_at, :'as_of') ELSE c.first_owned_at END,
    waiting_since = CASE WHEN o.waits THEN coalesce(c.waiting_since, :'as_of') END
FROM owners o
WHERE c.account_id = o.account_id AND o.why IN ('departure', 'waitlist') AND o.to_owner_id IS DISTINCT FROM o.from_owner_id;

INSERT INTO band_history (account_id, run_id, changed_at, from_band, to_band, move, rule, reason, value, evidence,
    from_owner_id, to_owner_id)
SELECT d.account_id, :'run_id', :'as_of', d.from_band, d.to_band, d.move, d.rule, d.reason, d.value, d.evidence, d.owner_id,
    CASE WHEN o.account_id IS NULL THEN d.owner_id ELSE o.to_owner_id END
FROM decided d
LEFT JOIN owners o USING (account_id)
WHERE d.outcome = 'move';

INSERT INTO owner_history (account_id, run_id, changed_at, from_owner_id, to_owner_id, why, reason)
SELECT account_id, :'run_id', :'as_of', from_owner_id, to_owner_id, why, reason
FROM owners
WHERE from_owner_id IS DISTINCT FROM to_owner_id;

INSERT INTO outbox (message_id, run_id, topic, recipient, payload, created_at)
SELECT 'msg_' || left(encode(sha256(convert_to(:'run_id' || ':csm.digest:' || csm_id, 'UTF8')), 'hex'), 32), :'run_id',
    'csm.digest', csm_id, jsonb_build_object('csm_id', csm_id, 'run_id', :'run_id', 'as_of', :'as_of',
        'arrivals', coalesce(jsonb_agg(account) FILTER (WHERE arrives), '[]'),
        'departures', coalesce(jsonb_agg(account) FILTER (WHERE NOT arrives), '[]')), :'as_of'
FROM (
    SELECT
        side.csm_id, side.arrives,
        jsonb_build_object('account_id', o.account_id, 'name', a.name, 'from_band', d.from_band, 'to_band', d.to_band,
            'value', d.value, 'renewal_on', a.renewal_on, 'last_engaged_at', a.last_engaged_at, 'champion',
            CASE WHEN a.attributes ? 'champion' OR h.kind IS NOT NULL THEN jsonb_build_object(
                'name', a.attributes ->> 'champion', 'event', h.kind, 'at', h.occurred_at, 'detail', h.detail) END,
            'reason', d.reason, 'why', o.why, 'owner_reason', o.reason, 'other', side.other, 'other_name', n.name) AS account
    FROM owners o
    LEFT JOIN decided d ON d.account_id = o.account_id AND d.outcome = 'move'
    LEFT JOIN accounts a ON a.account_id = o.account_id
    LEFT JOIN (
        SELECT DISTINCT ON (account_id) account_id, kind, occurred_at, detail
        FROM account_signals
        WHERE kind IN ('champion_left', 'champion_joined') AND occurred_at <= :'as_of'
        ORDER BY account_id, occurred_at DESC, signal_id DESC
    ) AS h ON h.account_id = o.account_id
    CROSS JOIN LATERAL (VALUES (o.to_owner_id, o.from_owner_id, true), (o.from_owner_id, o.to_owner_id, false))
        AS side (csm_id, other, arrives)
    LEFT JOIN csms n ON n.csm_id = side.other
    WHERE o.from_owner_id IS DISTINCT FROM o.to_owner_id AND side.csm_id IS NOT NULL
    ORDER BY o.account_id
) AS listed
GROUP BY csm_id;

\else

SELECT d.account_id, d.outcome, d.move, d.from_band, d.to_band, d.rule, d.against, d.value, d.reason, d.evidence,
    d.still_pending, coalesce(o.from_owner_id, d.owner_id), CASE WHEN o.account_id IS NULL THEN d.owner_id ELSE o.to_owner_id END,
    o.why, o.reason
FROM decided d
FULL JOIN owners o USING (account_id)
ORDER BY account_id;

\endif

COMMIT;
