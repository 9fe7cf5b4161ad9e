// Many inputs, constants or outputs are gathered into one group, closed at first, so that a
// network's hundred parameters do not push all else out of sight.

const MANY = 12;
const LEAST_WIDTH = 100; // pixels of the window that each of them has in a row, else they are many

/** The record with what is many in a window of that width gathered; 0 is a width not yet known. */
function gathered(record, width) {
  const kinds = record.stage === "paths" ? [] : ["input", "constant", "output"];
  const many = width ? Math.min(MANY, Math.floor(width / LEAST_WIDTH)) : MANY;
  return kinds.reduce((before, kind) => gatherKind(before, kind, many), record);
}

function gatherKind(record, kind, many) {
  const isLoose = (node) => node.kind === kind && node.group === null;
  const count = record.nodes.filter(isLoose).length;
  if (count <= Math.max(1, many)) return record;
  const number = record.groups.length;
  const group = { number, parent: null, kind: "gathered", label: countInWords(count, kind) };
  const nodes = record.nodes.map((node) => (isLoose(node) ? { ...node, group: number } : node));
  return { ...record, nodes, groups: [...record.groups, group] };
}
