// The legend: the colours that occur in this graph.

const MEANINGS = [
  ["in-forward", "forward"],
  ["in-backward", "backward"],
  ["in-update", "update"],
  ["is-segment", "segment"],
  ["is-decision", "decision"],
  ["is-python", "Python"],
  ["is-input", "input"],
  ["is-constant", "constant"],
  ["is-output", "output"],
];

function fillLegend(list, record) {
  const occurring = new Set(record.nodes.map(paintOfNode));
  const entries = MEANINGS.filter(([paint]) => occurring.has(paint));
  list.replaceChildren(
    ...entries.map(([paint, word]) =>
      html("li", {}, html("span", { class: `swatch ${paint}` }), word),
    ),
  );
}
