// From afar the words on boxes are too small, so open groups get theirs in one size for all
// distances, as many as have room.

const OVERVIEW_SIZE = 12;

function nameGroups(drawing, scale) {
  const far = scale < READABLE;
  const size = far ? OVERVIEW_SIZE / scale : null;
  const taken = [];
  for (const [key, element] of drawing.boxes) {
    if (!drawing.model.isOpen(key)) continue;
    const name = element.querySelector(".name");
    const label = far ? roomFor(name, drawing.layout.boxes.get(key), size) : null;
    const clear = label !== null && taken.every((other) => !overlap(other, label));
    if (clear) taken.push(label);
    name.style.fontSize = far ? `${size}px` : "";
    name.style.visibility = far && !clear ? "hidden" : "";
    name.setAttribute("y", Number(element.dataset.top) + (far ? size * 1.2 : 20));
  }
}

/** Where a group's name would stand, or null if the group is too small for it. */
function roomFor(name, { x, y, width, height }, size) {
  const length = (widthOf(name.textContent, NAME_FONT) * size) / 13 + 26;
  if (length > width || size * 1.5 > height) return null;
  return { x, y, width: length, height: size * 1.4 };
}

function overlap(a, b) {
  const across = a.x < b.x + b.width && b.x < a.x + a.width;
  return across && a.y < b.y + b.height && b.y < a.y + a.height;
}
