// What lines carry, written upon them: each where it covers no box and no other note, or not at
// all, for the panel has them too.

const NOTE_HEIGHT = 17;
const ALONG = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.12, 0.88]; // shares of a line's length

function notesOn(lines, solid) {
  const taken = [...solid];
  return lines.flatMap((line) => {
    const words = line.kind === "answer" ? "" : shortened(labelOfLine(line), LONGEST_NAME);
    const place = words && freePlace(line.drawn, widthOf(words) + 8, taken);
    if (!place) return [];
    taken.push(place);
    return [drawNote(words, place)];
  });
}

/** The place nearest to the middle of a line where a note overlaps nothing, if there is one. */
function freePlace(path, width, taken) {
  const length = path.getTotalLength();
  return ALONG.map((share) => path.getPointAtLength(share * length))
    .map(({ x, y }) => ({ x: x - width / 2, y: y - NOTE_HEIGHT / 2, width, height: NOTE_HEIGHT }))
    .find((place) => !taken.some((other) => overlap(other, place)));
}

function drawNote(words, place) {
  const middle = { x: place.x + place.width / 2, y: place.y + 12.5 };
  return svg("g", {}, svg("rect", { ...place, rx: 4 }), svg("text", middle, words));
}

function overlap(a, b) {
  const across = a.x < b.x + b.width && b.x < a.x + a.width;
  return across && a.y < b.y + b.height && b.y < a.y + a.height;
}
