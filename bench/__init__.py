"""The benchmark: bandshift against the best SQL we could write by hand, and against a loop over an ORM.

`make bench`, or `python -m bench --accounts 2000 --rounds 1` for a quick look. It makes its own data on an embedded
Postgres in a scratch folder, measures everything in one go, and says of each bar whether it was passed.

What is fair about it: both sides use the same server with the same settings, on clones of one database that was
vacuumed and analysed; caches are warm; turns alternate and the medians are compared; programs are measured from
outside, from their start to their end, Python's start included; and the comparison is void unless both sides move the
same accounts to the same bands. What is in our disfavour: the hand-written SQL knows this one policy, and does less
(its head says what it leaves out).

Handing out accounts is measured beside it, without a database: see `owners`, or `python -m bench.owners` alone.
"""
