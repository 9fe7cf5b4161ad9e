// Where one program serves all calls, none of them follows a path, and counts of 0 tell nothing.

function withTellingHits(record) {
  if (record.nodes.some((node) => node.hits)) return record;
  return { ...record, nodes: record.nodes.map((node) => ({ ...node, hits: null })) };
}
