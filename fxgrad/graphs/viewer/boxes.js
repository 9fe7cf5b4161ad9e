// How a single node or group is drawn.

/** The class that gives a node its colours: an operation's phase, and the kind of all else. */
function paintOfNode(node) {
  return node.kind === "operation" ? `in-${node.phase}` : `is-${node.kind}`;
}

function paintOfGroup(totals, stage) {
  const only = totals.kinds.size === 1 ? [...totals.kinds][0] : null;
  if (only !== null && only !== "operation") return `is-${only}`;
  const one = stage !== "paths" && totals.phases.size === 1;
  return one ? `in-${[...totals.phases][0]}` : "in-several";
}

function drawNode(node, place, words, stage) {
  const attributes = {
    class: `box node ${paintOfNode(node)}`,
    "data-node": node.number,
    "data-key": keyOfNode(node.number),
  };
  const hint = [node.label, subtitleOf(node, stage), node.at].filter(Boolean).join("\n");
  return svg(
    "g",
    attributes,
    svg("title", {}, hint),
    shapeOf(node, place),
    ...twoLines(words, place, 0),
  );
}

function shapeOf(node, place) {
  if (node.kind === "decision") return hexagon(place);
  return svg("rect", { class: "shape", ...place, rx: roundingOf(node, place.height) });
}

function roundingOf(node, height) {
  return ["input", "output", "constant"].includes(node.kind) ? height / 2 : 5;
}

function hexagon({ x, y, width, height }) {
  const tip = 14;
  const middle = y + height / 2;
  const points = [
    [x, middle],
    [x + tip, y],
    [x + width - tip, y],
    [x + width, middle],
    [x + width - tip, y + height],
    [x + tip, y + height],
  ];
  return svg("polygon", { class: "shape", points: points.join(" ") });
}

function drawGroup(model, number, place, words, stage) {
  const group = model.record.groups[number];
  const totals = model.totals[number];
  const open = model.open.has(number);
  const attributes = {
    class: `box group ${open ? "open" : "closed"} ${paintOfGroup(totals, stage)}`,
    "data-group": number,
    "data-key": keyOfGroup(number),
    "data-top": place.y,
    role: "button",
    tabindex: 0,
    "aria-expanded": open,
    "aria-label": `${group.label}: ${summaryOf(group, totals)}`,
  };
  const hint = svg("title", {}, `${group.label} (${group.kind})\n${summaryOf(group, totals)}`);
  return svg("g", attributes, hint, ...(open ? openHeader : closedGroup)(words, place));
}

function openHeader(words, { x, y, width }) {
  const beside = x + 38 + widthOf(words.name, NAME_FONT);
  return [
    svg("rect", { class: "shape", x, y, width, height: HEADER, rx: 8 }),
    triangle(x + 14, y + 15, "M-5 -3L5 -3L0 4Z"),
    svg("text", { class: "name", x: x + 26, y: y + 20 }, words.name),
    svg("text", { class: "under", x: beside, y: y + 20 }, words.under),
  ];
}

function closedGroup(words, place) {
  const { x, y, width, height } = place;
  return [
    svg("rect", { class: "sheet", x: x + 5, y: y + 5, width, height, rx: 8 }),
    svg("rect", { class: "shape", x, y, width, height, rx: 8 }),
    triangle(x + 15, y + height / 2, "M-3 -5L4 0L-3 5Z"),
    ...twoLines(words, place, 10),
  ];
}

function triangle(x, y, path) {
  return svg("path", { class: "triangle", d: path, transform: `translate(${x} ${y})` });
}

function twoLines({ name, under }, { x, y, width, height }, shift) {
  const middle = { x: x + width / 2 + shift, "text-anchor": "middle" };
  if (!under) return [svg("text", { class: "name", ...middle, y: y + height / 2 + 4.5 }, name)];
  return [
    svg("text", { class: "name", ...middle, y: y + 19 }, name),
    svg("text", { class: "under", ...middle, y: y + 34 }, under),
  ];
}
