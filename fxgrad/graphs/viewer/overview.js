// Names of groups in one size for all distances, above all else. From afar, where the words on
// boxes are too small: the outermost groups' and as many of the inner ones' as have room. From
// near: those of open groups that begin to the left of the window.

const OUTER_FONT = "600 15px system-ui, sans-serif";
const INNER_FONT = "600 12px system-ui, sans-serif";
const NAME_HEIGHT = 22;
const EDGE = 8; // pixels that a name keeps from the window's left edge

function nameGroups(layer, drawing, camera) {
  const far = camera.scale < READABLE;
  const groups = [...drawing.layout.boxes.keys()].filter(isGroup);
  const names = groups.map((key) => nameOf(key, drawing, camera));
  const wanted = names.filter(far ? isWantedFromAfar : isCutOff);
  layer.replaceChildren(...withoutOverlaps(wanted).map((name) => drawName(name, drawing)));
}

/** A group's name where it stands in the window, with the group's frame there. */
function nameOf(key, { model, layout }, camera) {
  const box = layout.boxes.get(key);
  const depth = model.groupsAround(key).length;
  const words = shortened(model.thing(key).label, LONGEST_NAME);
  const width = widthOf(words, depth === 0 ? OUTER_FONT : INNER_FONT) + 12;
  const { x, y } = camera.inWindow(box);
  const [across, down, header] = [box.width, box.height, HEADER].map((n) => n * camera.scale);
  const frame = { x, y, width: across, height: down };
  const place = { x: Math.max(EDGE, x), y: nameTop(depth, y, header), width, height: NAME_HEIGHT };
  const seen = overlap(place, { x: 0, y: 0, ...camera.window });
  return { key, words, depth, open: model.isOpen(key), frame, place, seen };
}

/** An outermost group's name stands upon its header, others in theirs, none above the window. */
function nameTop(depth, top, header) {
  const within = header > NAME_HEIGHT ? (header - NAME_HEIGHT) / 2 : 0;
  if (depth > 0 || header > NAME_HEIGHT) return top + within;
  return Math.max(Math.min(2, top), top + header - NAME_HEIGHT);
}

function isWantedFromAfar({ depth, open, frame, place, seen }) {
  if (depth === 0) return seen && frame.x + frame.width > EDGE;
  return seen && open && hasRoom(frame, place) && 3 * place.height < frame.height;
}

function isCutOff({ open, frame, place, seen }) {
  return seen && open && frame.x < -EDGE && hasRoom(frame, place);
}

function hasRoom(frame, place) {
  return place.x + place.width < frame.x + frame.width;
}

/** Inner groups' names give way to outer ones', of which a later one moves down. */
function withoutOverlaps(names) {
  const kept = [];
  for (const name of names.sort((a, b) => a.depth - b.depth)) {
    const lower = name.depth === 0 ? [0, 1, 2, 3] : [0];
    const places = lower.map((rows) => ({ ...name.place, y: name.place.y + rows * NAME_HEIGHT }));
    const place = places.find((free) => !kept.some((other) => overlap(other.place, free)));
    if (place) kept.push({ ...name, place });
  }
  return kept;
}

function drawName({ key, words, depth, place }, { model, stage }) {
  const paint = paintOfGroup(model.totals[numberOf(key)], stage);
  const attributes = { class: `${depth === 0 ? "outer " : ""}${paint}`, "data-names": key };
  const baseline = { x: place.x + 6, y: place.y + 16 };
  const backing = svg("rect", { ...place, rx: 5 });
  return svg("g", attributes, backing, svg("text", baseline, words));
}
