// Search: which nodes and groups hold the words, and which of them is looked at.

class Search {
  constructor(record) {
    this.texts = [
      ...record.groups.map((group) => [keyOfGroup(group.number), `${group.kind} ${group.label}`]),
      ...record.nodes.map((node) => [keyOfNode(node.number), textOf(node)]),
    ].map(([key, text]) => [key, text.toLowerCase()]);
    this.find("");
  }

  /** All things that hold every one of the words. */
  find(words) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const holds = ([, text]) => wanted.every((word) => text.includes(word));
    this.words = words;
    this.matches = wanted.length ? this.texts.filter(holds).map(([key]) => key) : [];
    this.current = null;
  }

  /** The next match, or the one before; after the last comes the first. */
  step(by) {
    if (!this.matches.length) return null;
    const from = this.current ?? (by > 0 ? -1 : 0);
    this.current = (from + by + this.matches.length) % this.matches.length;
    return this.matches[this.current];
  }

  get count() {
    if (!this.words.trim()) return "";
    if (!this.matches.length) return "none";
    const total = this.matches.length.toLocaleString("en");
    return this.current === null ? `${total} found` : `${this.current + 1} of ${total}`;
  }
}

function textOf(node) {
  const { label, at, place, outputs, kind, phase } = node;
  return [label, at, place?.line ?? "", ...outputs, kind, phase].join("\n");
}
