// Numbers and names in words.

const FLOPS = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"];
const BYTES = ["B", "KiB", "MiB", "GiB"];

/** With three digits, as the text views have it. */
function quantity(value, units, base) {
  let step = 0;
  while (Math.abs(value) >= base && step < units.length - 1) {
    value /= base;
    step += 1;
  }
  return `${value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3))} ${units[step]}`;
}

const flopsInWords = (value) => quantity(value, FLOPS, 1000);
const bytesInWords = (value) => quantity(value, BYTES, 1024);
const countInWords = (count, noun) =>
  `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

function shortened(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** What a node says under its name: the shapes, or for paths the line and its calls. */
function subtitleOf(node, stage) {
  if (stage !== "paths") return manyInShort(node.outputs);
  const line = node.place ? node.place.line : manyInShort(node.outputs);
  return [line, node.hits === null ? "" : countInWords(node.hits, "call")]
    .filter(Boolean)
    .join(" · ");
}

function manyInShort(shapes) {
  return shapes.length > 1 ? `${shapes[0]} +${shapes.length - 1}` : (shapes[0] ?? "");
}

const TELLING_KINDS = ["loop", "branch", "fusion"]; // the names of the others say what they are

/** What a group says under or beside its name. */
function summaryOf(group, totals) {
  const words = TELLING_KINDS.includes(group.kind) ? [group.kind] : [];
  if (!totals.operations) return words.join(" · "); // inputs cost nothing
  words.push(countInWords(totals.operations, "op"));
  const atLeast = totals.partial ? "≥ " : "";
  if (totals.flops !== null) words.push(atLeast + flopsInWords(totals.flops));
  if (totals.bytes !== null) words.push(atLeast + bytesInWords(totals.bytes));
  return words.join(" · ");
}
