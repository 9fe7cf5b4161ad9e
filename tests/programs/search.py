"""Decoding, sorting and searching with Python's own data structures."""

import heapq
import itertools

import jax
import jax.numpy as jnp

from tests.programs.program import program, scalars, vectors, x

transitions = jnp.sin(jnp.arange(9.0)).reshape(3, 3)


@program(*vectors([1, 0, 0], [0, 0, 1], [0, 1, 0]), static=False)
def greedy_decoding_to_the_end_token(logits):
    words, score = [], jnp.zeros(())
    for _ in range(4):
        word = int(jnp.argmax(logits))
        score = score + jax.nn.log_softmax(logits)[word]
        words.append(word)
        if word == 1:
            break
        logits = logits * 0.5 + transitions[word]
    return score / len(words)


@program(*vectors([1, 0, 0.5], [0, 0.9, 1]), static=False)
def beam_search_of_width_two(logits):
    beams = [(jnp.zeros(()), [])]
    for _ in range(2):
        grown = []
        for score, words in beams:
            ahead = jax.nn.log_softmax(logits + (transitions[words[-1]] if words else 0.0))
            grown += [(score + ahead[word], [*words, word]) for word in range(3)]
        beams = sorted(grown, key=lambda beam: beam[0], reverse=True)[:2]
    return beams[0][0] * (beams[0][1][-1] + 1)


@program(*vectors([3, 1, 2], [1, 2, 3], [2, 2, 1]), static=False)
def quicksort(x):
    def sort(values):
        if len(values) < 2:
            return values
        pivot, *rest = values
        small = [value for value in rest if value < pivot]
        return [*sort(small), pivot, *sort([value for value in rest if not value < pivot])]

    return sum(value ** (i + 1) for i, value in enumerate(sort(list(x))))


@program((x, jnp.float32(-0.9)), (x, jnp.float32(0.5)), (x, jnp.float32(1.9)), static=False)
def binary_search(x, wanted):
    low, high = 0, len(x)
    while low < high:
        middle = (low + high) // 2
        if x[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return x[min(low, len(x) - 1)] * wanted + low


@program(*vectors([1, 5, 1, 1], [5, 1, 1, 9], [2, 3, 2, 4]), static=False)
def shortest_path_with_a_heap(costs):
    edges = {0: [(1, 0), (2, 1)], 1: [(2, 2), (3, 3)], 2: [(3, 1)], 3: []}
    queue, done = [(jnp.zeros(()), 0)], set()
    while queue:
        length, node = heapq.heappop(queue)
        if node == 3:
            break
        if node not in done:
            done.add(node)
            for following, edge in edges[node]:
                heapq.heappush(queue, (length + costs[edge], following))
    return length**2


@program(*vectors([1, 2, 3], [3, 1, 2]), static=False)
def time_warping(x):
    other = (1.0, 2.5)
    table = {(-1, -1): jnp.zeros(())}
    for i, a in enumerate(x):
        for j, b in enumerate(other):
            before = [(i - 1, j), (i, j - 1), (i - 1, j - 1)]
            table[i, j] = (a - b) ** 2 + min(table[at] for at in before if at in table)
    return table[2, 1]


@program(*vectors([1, 0, 0], [0, 2, 1]), static=False)
def most_likely_states(scores):
    back = []
    for _ in range(2):
        joined = scores[:, None] + transitions
        back.append(jnp.argmax(joined, axis=0))
        scores = jnp.max(joined, axis=0)
    state = int(jnp.argmax(scores))
    path = [state, *(state := int(step[state]) for step in reversed(back))]
    return jnp.max(scores) * (1 + path[-1])


@program(*scalars(0.5, 1.5, 3.5), static=False)
def game_tree_with_pruning(x):
    def best(depth, value, bound):
        if depth == 0:
            return jnp.sin(value)
        found = best(depth - 1, value * x, -bound)
        if found > bound:
            return found
        return max(found, -best(depth - 1, value + x, found))

    return best(2, x, 0.5)


@program(*vectors([1, 4, 2], [4, 1, 1]), static=False)
def knapsack_by_density(x):
    room, taken = jnp.full((), 5.0), jnp.zeros(())
    for value in sorted(x, key=lambda v: -v):
        if value > room:
            taken = taken + room * 0.5
            break
        room, taken = room - value, taken + value**2
    return taken * room


@program(*vectors([1, 2, 1, 3], [3, 2, 1, 0], [1, 1, 1, 1]), static=False)
def longest_rising_run(x):
    best = run = [x[0]]
    for before, value in itertools.pairwise(x):
        run = [*run, value] if value > before else [value]
        best = max(best, run, key=len)
    return sum(best) ** 2


@program(*scalars(0.1, 0.4, 0.9), static=False)
def tree_walked_by_a_stack(x):
    stack, total = [(x, 0)], jnp.zeros(())
    while stack:
        value, depth = stack.pop()
        total = total + value
        if value > 0.3 and depth < 2:
            stack += [(value * 0.6, depth + 1), (value * 0.3, depth + 1)]
    return total
