// The panel: all that is known of one node or group, with ways to its neighbours.

class Panel {
  constructor(element, model, { go, toggle, close }) {
    Object.assign(this, { element, model, go, toggle, close });
    this.into = Map.groupBy(model.record.edges, (edge) => edge.target);
    this.outOf = Map.groupBy(model.record.edges, (edge) => edge.source);
  }

  show(key) {
    this.element.hidden = key === null;
    if (key === null) return;
    const thing = this.model.thing(key);
    this.element.replaceChildren(
      this.#button("×", this.close, { class: "close", "aria-label": "Close" }),
      html("h2", {}, thing.label),
      this.#wayTo(key),
      ...(isGroup(key) ? this.#group(key) : this.#node(thing)),
    );
    this.element.scrollTop = 0;
  }

  #wayTo(key) {
    const thing = this.model.thing(key);
    const around = this.model.groupsAround(key).reverse();
    const links = around.flatMap((group) => [
      this.#link(keyOfGroup(group), this.model.record.groups[group].label),
      " › ",
    ]);
    return html("p", { class: "way" }, ...links, thing.kind);
  }

  #group(key) {
    const totals = this.model.totals[numberOf(key)];
    const word = this.model.isOpen(key) ? "Collapse" : "Expand";
    const operations = ["operations", totals.operations.toLocaleString("en")];
    return [
      html("p", {}, this.#button(word, () => this.toggle(key))),
      factsList([operations, ...costs(totals, totals.partial)]),
    ];
  }

  #node(node) {
    const paths = this.model.record.stage === "paths";
    const runs = node.runs === null ? "depends on values" : countInWords(node.runs, "time");
    return [
      ...lineOf(node),
      factsList([
        ["result", node.outputs.join("\n")],
        ...costs(node, false),
        ["runs", paths ? "" : runs],
        ["hits", node.hits === null ? "" : countInWords(node.hits, "call")],
        ["phase", paths ? "" : node.phase],
      ]),
      ...(node.detail ? [html("pre", { class: "detail" }, node.detail)] : []),
      ...this.#neighbours("Inputs", this.into.get(node.number), "source"),
      ...this.#neighbours("Outputs", this.outOf.get(node.number), "target"),
    ];
  }

  #neighbours(title, edges, end) {
    if (!edges) return [];
    const items = edges.map((edge) => {
      const node = this.model.record.nodes[edge[end]];
      const label = edge.label ? html("small", {}, ` ${edge.label}`) : "";
      return html("li", {}, this.#link(keyOfNode(node.number), node.label), label);
    });
    return [html("h3", {}, title), html("ul", { class: title.toLowerCase() }, ...items)];
  }

  #link(key, label) {
    return this.#button(label, () => this.go(key), { class: "link", "data-to": key });
  }

  #button(words, click, attributes = {}) {
    return html("button", { type: "button", click, ...attributes }, words);
  }
}

function lineOf(node) {
  if (!node.place) return [];
  return [
    html("p", { class: "place", title: `${node.place.filename}:${node.place.lineno}` }, node.at),
    html("pre", { class: "source" }, node.place.line),
  ];
}

function costs({ flops, bytes }, partial) {
  const atLeast = partial ? "≥ " : "";
  return [
    ["FLOPs", flops === null ? "" : atLeast + flopsInWords(flops)],
    ["bytes", bytes === null ? "" : atLeast + bytesInWords(bytes)],
    ["FLOPs per byte", flops !== null && bytes ? (flops / bytes).toPrecision(3) : ""],
  ];
}

function factsList(facts) {
  const known = facts.filter(([, value]) => value);
  const pairs = known.flatMap(([term, value]) => [html("dt", {}, term), html("dd", {}, value)]);
  return html("dl", {}, ...pairs);
}
