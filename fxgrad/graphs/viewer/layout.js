// From boxes and lines to positions: what is asked of the layout engine, and what it answers.

const LAYOUT = {
  "elk.algorithm": "layered",
  "elk.direction": "DOWN",
  "elk.json.shapeCoords": "ROOT",
  "elk.json.edgeCoords": "ROOT",
  "elk.layered.mergeEdges": "true",
  "elk.layered.spacing.nodeNodeBetweenLayers": "34",
  "elk.layered.spacing.edgeNodeBetweenLayers": "12",
  "elk.spacing.nodeNode": "22",
  "elk.spacing.edgeNode": "14",
  "elk.spacing.edgeEdge": "8",
};
// Up to this many boxes the engine may take its time. Beyond, trying less to avoid crossings halves
// it: on a training step of 2,536 nodes in 207 groups from 6 s to 3 s, in the same area.
const FEW = 400;
const THOROUGH = {
  "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
};
const QUICK = {
  "elk.layered.nodePlacement.strategy": "BRANDES_KOEPF",
  "elk.layered.thoroughness": "3",
};
const HEADER = 30;
const INSIDE_OPEN_GROUP = `[top=${HEADER + 14},left=14,bottom=14,right=14]`;
// A line through many layers costs the engine time in each of them, and a training step has lines
// from every layer of the forward pass to the backward pass. Past this many layers in all, the
// longest lines are left out of the layout and drawn as plain curves. Measured on a training step
// of 700 nodes, whose lines pass 19,632 layers: 5 s with all of them, 1 s with 1,200.
const LAYERS_PASSED = 4000;

/** Where each box and each line goes: a box as x, y, width, height; a line as points, or null. */
async function positions(model, engine, stage) {
  const lines = model.lines();
  const routed = new Set(linesToRoute(model, lines));
  const graph = elkGraph(model, [...routed], stage);
  const result = await engine.layOut(graph);
  const places = new Map();
  collectPlaces(result, places);
  const routes = new Map(result.edges.map((edge) => [edge.id, edge]));
  return {
    width: result.width,
    height: result.height,
    boxes: places,
    lines: lines.map((line) => ({ ...line, ...routeOf(routes.get(line.id)) })),
  };
}

function elkGraph(model, lines, stage) {
  const nested = model.boxes().some((key) => model.isOpen(key));
  const handling = nested ? "INCLUDE_CHILDREN" : "SEPARATE_CHILDREN";
  const care = model.boxes().length < FEW ? THOROUGH : QUICK;
  return {
    id: "all",
    layoutOptions: { ...LAYOUT, ...care, "elk.hierarchyHandling": handling },
    children: model.inside.get(null).map((key) => elkBox(model, key, stage)),
    edges: lines.map(elkEdge),
  };
}

function elkBox(model, key, stage) {
  const { width, height } = sizeOf(model, key, stage);
  if (!model.isOpen(key)) return { id: key, width, height };
  return {
    id: key,
    children: model.inside.get(numberOf(key)).map((inner) => elkBox(model, inner, stage)),
    layoutOptions: {
      "elk.padding": INSIDE_OPEN_GROUP,
      "elk.nodeSize.constraints": "MINIMUM_SIZE",
      // The engine lays out from left to right and turns the result, but not this size.
      "elk.nodeSize.minimum": `(${height}, ${width})`,
    },
  };
}

function elkEdge(line) {
  const edge = { id: line.id, sources: [line.source], targets: [line.target] };
  if (line.kind !== "answer") return edge;
  const text = shortened(labelOfLine(line), LONGEST_NAME);
  return { ...edge, labels: [{ id: `${line.id} label`, text, width: widthOf(text), height: 16 }] };
}

function collectPlaces(box, places) {
  for (const inner of box.children ?? []) {
    const { x, y, width, height } = inner;
    places.set(inner.id, { x, y, width, height });
    collectPlaces(inner, places);
  }
}

function routeOf(edge) {
  if (!edge?.sections) return { points: null, label: null };
  const points = edge.sections.flatMap((section) => [
    section.startPoint,
    ...(section.bendPoints ?? []),
    section.endPoint,
  ]);
  return { points, label: edge.labels?.[0] ?? null };
}

/** All lines if they are short; else the short ones, and the shortest line into each box. */
function linesToRoute(model, lines) {
  const depth = depths(model, lines);
  const passed = (line) => Math.abs(depth.get(line.target) - depth.get(line.source));
  const entered = new Set();
  let layers = 0;
  return [...lines]
    .sort((a, b) => passed(a) - passed(b))
    .filter((line) => {
      const first = !entered.has(line.target);
      if (!first && layers + passed(line) > LAYERS_PASSED) return false;
      entered.add(line.target);
      layers += passed(line);
      return true;
    });
}

/** About the layer that the engine will put each box in: the longest way to it. */
function depths(model, lines) {
  const forward = lines.filter((line) => model.turnOf(line.source) < model.turnOf(line.target));
  const byTurn = (a, b) => model.turnOf(a) - model.turnOf(b);
  const into = Map.groupBy(forward, (line) => line.target);
  const outOf = Map.groupBy(forward, (line) => line.source);
  const keys = model.boxes().sort(byTurn);
  const depth = new Map();
  for (const key of keys) {
    const before = (into.get(key) ?? []).map((line) => depth.get(line.source) + 1);
    depth.set(key, before.reduce((a, b) => Math.max(a, b), 0));
  }
  for (const key of keys.filter((key) => !into.has(key) && outOf.has(key))) {
    const after = outOf.get(key).map((line) => depth.get(line.target) - 1);
    depth.set(key, after.reduce((a, b) => Math.min(a, b)));
  }
  return depth;
}
