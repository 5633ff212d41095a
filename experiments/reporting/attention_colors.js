// Colors of attention on points, from the least to the most of it, for pages of either ground.

export const RAMP = [[236, 226, 240], [208, 150, 190], [150, 60, 140], [80, 20, 100], [30, 5, 60]]; // pale to dark
export const DARK_RAMP = [[52, 48, 70], [110, 50, 120], [190, 60, 110], [250, 140, 80], [255, 240, 170]];

/** Colors u8[P, 3] of attention u8[P] on the page's ground. */
export function painted(attention) {
  const ramp = matchMedia("(prefers-color-scheme: dark)").matches ? DARK_RAMP : RAMP;
  const colors = new Uint8Array(3 * attention.length);
  attention.forEach((value, i) => {
    const place = (value / 255) * (ramp.length - 1), low = Math.min(Math.floor(place), ramp.length - 2);
    for (let k = 0; k < 3; k++)
      colors[3 * i + k] = ramp[low][k] + (place - low) * (ramp[low + 1][k] - ramp[low][k]);
  });
  return colors;
}

