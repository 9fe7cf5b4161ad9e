// How large a box must be for its words, measured without drawing it.

const LONGEST_NAME = 36;
const LONGEST_SUBTITLE = 44;
const NAME_FONT = "600 13px system-ui, sans-serif";
const SMALL_FONT = "11px system-ui, sans-serif";

const pencil = document.createElement("canvas").getContext("2d");

function widthOf(text, font = SMALL_FONT) {
  pencil.font = font;
  return Math.ceil(pencil.measureText(text).width);
}

/** The words on a box: its name, and what stands under it. */
function wordsOn(model, key, stage) {
  const thing = model.thing(key);
  const under = isGroup(key)
    ? summaryOf(thing, model.totals[thing.number])
    : subtitleOf(thing, stage);
  return { name: shortened(thing.label, LONGEST_NAME), under: shortened(under, LONGEST_SUBTITLE) };
}

function sizeOf(model, key, stage) {
  const { name, under } = wordsOn(model, key, stage);
  const nameWidth = widthOf(name, NAME_FONT);
  if (model.isOpen(key)) return { width: nameWidth + widthOf(under) + 70, height: 60 };
  const width = Math.max(nameWidth, widthOf(under)) + besideWords(model, key);
  return { width: Math.max(width, 56), height: under ? 44 : 30 };
}

/** Room for what else is on a box: a closed group's triangle, the tips of a decision. */
function besideWords(model, key) {
  if (isGroup(key)) return 46;
  return model.thing(key).kind === "decision" ? 52 : 26;
}
