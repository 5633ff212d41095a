// Layout of a treemap: rectangles whose areas are as weights, as square as can be (squarified; Bruls et al., 2000).

/**
 * Places of weights in a rectangle.
 * @param weights Positive, the largest first.
 * @param width Of the rectangle.
 * @param height Of the rectangle.
 * @returns Objects {x, y, width, height}, in the order of the weights.
 */
export function treemap(weights, width, height) {
  const total = weights.reduce((sum, one) => sum + one, 0), places = [];
  const areas = weights.map((one) => (one / total) * width * height);
  let [x, y, wide, high] = [0, 0, width, height], row = [];

  const worst = (some, side) => {
    const sum = some.reduce((all, one) => all + one, 0);
    return Math.max((side * side * Math.max(...some)) / (sum * sum), (sum * sum) / (side * side * Math.min(...some)));
  };
  const put = (some) => {
    const sum = some.reduce((all, one) => all + one, 0);
    if (wide >= high) {
      const thick = sum / high;
      let down = y;
      for (const area of some) {
        places.push({ x, y: down, width: thick, height: area / thick });
        down += area / thick;
      }
      [x, wide] = [x + thick, wide - thick];
    } else {
      const thick = sum / wide;
      let right = x;
      for (const area of some) {
        places.push({ x: right, y, width: area / thick, height: thick });
        right += area / thick;
      }
      [y, high] = [y + thick, high - thick];
    }
  };
  for (const area of areas) {
    const side = Math.min(wide, high);
    if (row.length && worst([...row, area], side) > worst(row, side)) {
      put(row);
      row = [area];
    } else row.push(area);
  }
  if (row.length) put(row);
  return places;
}
