// Many inputs, constants or outputs are gathered into one group, closed at first, so that a
// network's hundred parameters do not push all else out of sight.

const MANY = 12;

function gathered(record) {
  const kinds = record.stage === "paths" ? [] : ["input", "constant", "output"];
  return kinds.reduce(gatherKind, record);
}

function gatherKind(record, kind) {
  const isLoose = (node) => node.kind === kind && node.group === null;
  const count = record.nodes.filter(isLoose).length;
  if (count <= MANY) return record;
  const number = record.groups.length;
  const group = { number, parent: null, kind: "gathered", label: countInWords(count, kind) };
  const nodes = record.nodes.map((node) => (isLoose(node) ? { ...node, group: number } : node));
  return { ...record, nodes, groups: [...record.groups, group] };
}
