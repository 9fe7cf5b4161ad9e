// The graph, which of its groups are open, and so which boxes and lines are to be seen.
// A box goes by its key: "n12" is node 12, "g3" is group 3.

const WORTH_A_BOX = 3; // operations: a large graph's group with fewer for each box stays closed

const keyOfNode = (number) => `n${number}`;
const keyOfGroup = (number) => `g${number}`;
const isGroup = (key) => key[0] === "g";
const numberOf = (key) => Number(key.slice(1));

class Model {
  constructor(record) {
    this.record = record;
    this.open = new Set();
    this.totals = record.groups.map(() => emptyTotals());
    for (const node of record.nodes) this.#count(node);
    this.inside = this.#boxesByParent();
  }

  #count(node) {
    for (const group of this.groupsAround(keyOfNode(node.number))) {
      addTo(this.totals[group], node);
    }
  }

  #boxesByParent() {
    const inside = new Map([[null, []]]);
    const filled = this.record.groups.filter((group) => this.totals[group.number].nodes > 0);
    for (const group of filled) inside.set(group.number, []);
    for (const group of filled) inside.get(group.parent).push(keyOfGroup(group.number));
    for (const node of this.record.nodes) inside.get(node.group).push(keyOfNode(node.number));
    for (const keys of inside.values()) keys.sort((a, b) => this.turnOf(a) - this.turnOf(b));
    return inside;
  }

  /** The groups to open in at most `room` boxes, those that show the most in the fewest first. */
  openings(room) {
    const all = this.record.nodes.length + this.record.groups.length;
    const least = all <= room ? 0 : WORTH_A_BOX;
    const closed = new Set(this.inside.get(null).filter(isGroup));
    const order = [];
    let seen = this.inside.get(null).length;
    const fits = (key) => seen + this.#boxesIn(key) <= room && this.#worth(key) >= least;
    for (;;) {
      const best = [...closed].filter(fits).sort((a, b) => this.#worth(b) - this.#worth(a))[0];
      if (best === undefined) return order;
      closed.delete(best);
      order.push(numberOf(best));
      seen += this.#boxesIn(best);
      for (const key of this.inside.get(numberOf(best)).filter(isGroup)) closed.add(key);
    }
  }

  #boxesIn(key) {
    return this.inside.get(numberOf(key)).length;
  }

  /** Operations for each box that opening a group would add. */
  #worth(key) {
    if (this.thing(key).kind === "gathered") return -1;
    return this.totals[numberOf(key)].operations / this.#boxesIn(key);
  }

  /** The first operation, or whatever comes first where there is none. */
  get firstBox() {
    const { nodes } = this.record;
    const first = nodes.find((node) => ["operation", "segment"].includes(node.kind)) ?? nodes[0];
    return first ? this.standIn(keyOfNode(first.number)) : null;
  }

  /** Whether a box only supplies values: an input, a constant, or a group of them. */
  isSupply(key) {
    const kinds = isGroup(key) ? [...this.totals[numberOf(key)].kinds] : [this.thing(key).kind];
    return kinds.every((kind) => kind === "input" || kind === "constant");
  }

  thing(key) {
    return (isGroup(key) ? this.record.groups : this.record.nodes)[numberOf(key)];
  }

  /** When a box first runs: the number of its first node. */
  turnOf(key) {
    return isGroup(key) ? this.totals[numberOf(key)].first : numberOf(key);
  }

  parentOf(key) {
    const thing = this.thing(key);
    return isGroup(key) ? thing.parent : thing.group;
  }

  /** The numbers of the groups that a box is in, the innermost first. */
  groupsAround(key) {
    const around = [];
    let group = this.parentOf(key);
    while (group !== null) {
      around.push(group);
      group = this.record.groups[group].parent;
    }
    return around;
  }

  /** The box that is seen for a box: itself, or the outermost closed group around it. */
  standIn(key) {
    const closed = this.groupsAround(key).filter((group) => !this.open.has(group));
    return closed.length ? keyOfGroup(closed.at(-1)) : key;
  }

  isOpen(key) {
    return isGroup(key) && this.open.has(numberOf(key));
  }

  toggle(key) {
    if (!this.open.delete(numberOf(key))) this.open.add(numberOf(key));
  }

  /** Opens what hides a box; whether anything did. */
  reveal(key) {
    const closed = this.groupsAround(key).filter((group) => !this.open.has(group));
    for (const group of closed) this.open.add(group);
    return closed.length > 0;
  }

  openAll() {
    this.open = new Set([...this.inside.keys()].filter((group) => group !== null));
  }

  openOnly(groups) {
    this.open = new Set(groups);
  }

  closeAll() {
    this.open.clear();
  }

  /** The keys of all boxes that are seen, those outside before those inside. */
  boxes(parent = null) {
    return this.inside
      .get(parent)
      .flatMap((key) => (this.isOpen(key) ? [key, ...this.boxes(numberOf(key))] : [key]));
  }

  /** The lines between boxes that are seen; edges between the same two are one line. */
  lines() {
    const lines = new Map();
    for (const edge of this.record.edges) {
      const source = this.standIn(keyOfNode(edge.source));
      const target = this.standIn(keyOfNode(edge.target));
      if (source === target && isGroup(source)) continue;
      const id = `${source} ${target} ${edge.kind}`;
      if (!lines.has(id)) lines.set(id, { id, source, target, kind: edge.kind, edges: [] });
      lines.get(id).edges.push(edge);
    }
    return [...lines.values()];
  }
}

function emptyTotals() {
  return {
    nodes: 0,
    operations: 0,
    flops: null,
    bytes: null,
    partial: false,
    first: Infinity,
    phases: new Set(),
    kinds: new Set(),
  };
}

/** A node whose trip count is not known counts once, and makes the totals a lower bound. */
function addTo(totals, node) {
  totals.nodes += 1;
  totals.operations += node.kind === "operation" || node.kind === "segment" ? 1 : 0;
  totals.first = Math.min(totals.first, node.number);
  totals.phases.add(node.phase);
  totals.kinds.add(node.kind);
  for (const what of ["flops", "bytes"]) {
    if (node[what] === null) continue;
    totals[what] = (totals[what] ?? 0) + node[what] * (node.runs ?? 1);
    totals.partial ||= node.runs === null;
  }
}

/** What a line says: its one label, or how many it stands for. */
function labelOfLine(line) {
  const labels = [...new Set(line.edges.map((edge) => edge.label))].filter(Boolean);
  if (labels.length > 2) return `${labels[0]} and ${labels.length - 1} more`;
  return labels.join(", ");
}
