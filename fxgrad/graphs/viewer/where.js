// Where one is: the open groups around the middle of the window, if a header of theirs is above
// it.

function whereInWords(drawing, camera) {
  const { width, height } = camera.window;
  const x = (width / 2 - camera.x) / camera.scale;
  const y = (height / 2 - camera.y) / camera.scale;
  const around = [...drawing.layout.boxes]
    .filter(([key]) => drawing.model.isOpen(key))
    .filter(([, box]) => x > box.x && x < box.x + box.width && y > box.y && y < box.y + box.height);
  if (around.every(([, box]) => camera.inWindow(box).y >= 0)) return "";
  return around.map(([key]) => drawing.model.thing(key).label).join(" › ");
}
