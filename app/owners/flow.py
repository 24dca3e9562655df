"""Minimum-cost flows for several objectives in order: the second is optimised among all optima of the first, and so on.

Each objective is solved by itself (OR-tools' cost-scaling push-relabel, in integers), and what its optima have in
common is then fixed. Potentials that prove the flow optimal give every arc a reduced cost; by complementary slackness a
flow is optimal exactly if it leaves arcs of positive reduced cost empty and fills those of negative reduced cost. So
these arcs keep the flow they have, the others are free for the next objective, and no weights have to be found that
keep the objectives apart: the order is exact, and the costs stay as small as each objective is by itself.

The solver multiplies costs by the number of nodes, and a path of such costs has at most as many arcs as there are
nodes; with costs of a few million and 10^5 nodes that is some 10^16, far from the 9 * 10^18 of its integers. It says
so instead of overflowing, and so do we.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from ortools.graph.python import min_cost_flow

Numbers = NDArray[np.int64]


class Network:
    """Arcs under construction. Nodes are numbered by the caller; a flow goes from node 0 to node 1."""

    def __init__(self, objectives: int) -> None:
        self._columns: list[list[Numbers]] = [[] for _ in range(3 + objectives)]
        self._arcs = 0

    def add(self, tails: Numbers | int, heads: Numbers | int, capacities: Numbers, *costs: Numbers | int) -> slice:
        """The arcs are part of the network; where their flows will be found. Costs are by objective, the rest 0."""
        count = len(capacities)
        given = (tails, heads, capacities, *costs)
        for number, column in enumerate(self._columns):
            values = given[number] if number < len(given) else 0
            column.append(np.broadcast_to(np.asarray(values, dtype=np.int64), (count,)))
        self._arcs += count
        return slice(self._arcs - count, self._arcs)

    def flows(self, amount: int) -> Numbers:
        """The flow on every arc when `amount` goes from 0 to 1 at the least cost by the objectives in their order."""
        tails, heads, capacities, *costs = (np.concatenate(column) for column in self._columns)
        nodes = int(max(tails.max(), heads.max())) + 1
        flows = np.zeros(len(tails), dtype=np.int64)
        supplies = np.zeros(nodes, dtype=np.int64)
        supplies[:2] = amount, -amount
        free = np.arange(len(tails))
        wanted = [cost for cost in costs if cost.any()] or [costs[0]]
        for number, cost in enumerate(wanted):
            arcs = tails[free], heads[free], capacities[free], cost[free]
            found = _solve(arcs, supplies)
            flows[free] = found
            if number + 1 < len(wanted):
                tight = _reduced_costs(arcs, found, nodes) == 0
                np.subtract.at(supplies, arcs[0][~tight], found[~tight])
                np.add.at(supplies, arcs[1][~tight], found[~tight])
                free = free[tight]
        return flows


def _solve(arcs: Sequence[Numbers], supplies: Numbers) -> Numbers:
    """The flow on every arc, of the least cost."""
    solver = min_cost_flow.SimpleMinCostFlow()
    if len(arcs[0]) == 0:
        return np.zeros(0, dtype=np.int64)
    numbers = solver.add_arcs_with_capacity_and_unit_cost(*arcs)
    solver.set_nodes_supplies(np.arange(len(supplies)), supplies)
    status = solver.solve()
    if status != solver.OPTIMAL:
        raise AssertionError(f"a flow that always exists was not found: {status}")
    return np.asarray(solver.flows(numbers), dtype=np.int64)


def _reduced_costs(arcs: Sequence[Numbers], flows: Numbers, nodes: int) -> Numbers:
    """The reduced costs of the arcs under potentials that prove the flow optimal.

    The potentials are the lengths of the shortest ways in the residual network; without a negative cycle, which an
    optimal flow has none of, relaxing every arc ends after at most as many rounds as there are nodes.
    """
    tails, heads, capacities, costs = arcs
    forward, backward = flows < capacities, flows > 0
    sources = np.concatenate([tails[forward], heads[backward]])
    targets = np.concatenate([heads[forward], tails[backward]])
    lengths = np.concatenate([costs[forward], -costs[backward]])
    order = np.argsort(targets, kind="stable")
    sources, targets, lengths = sources[order], targets[order], lengths[order]
    reached, starts = np.unique(targets, return_index=True)
    potentials = np.zeros(nodes, dtype=np.int64)
    for _ in range(nodes + 1):
        nearest = np.minimum.reduceat(potentials[sources] + lengths, starts)
        if (nearest >= potentials[reached]).all():
            return np.asarray(costs + potentials[tails] - potentials[heads])
        potentials[reached] = np.minimum(potentials[reached], nearest)
    raise AssertionError("a flow that was said to be optimal is not")
