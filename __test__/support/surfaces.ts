// What a page looks like, as coarse as no font and no anti-aliasing changes it: the colour of what lies below its text, cell
// by cell.
import type { Page } from "playwright-core";

/** A cell's side, in CSS pixels. */
const CELL = 16;
/** By so much the cells of one surface differ in red, green or blue. The palest surfaces are 9 apart. */
const TOLERANCE = 5;
/** What another font moves is found so many cells away at most. */
const REACH = 1;

type Colour = [red: number, green: number, blue: number];

/** The rows of cells, from the top. */
export type Surfaces = Colour[][];

/**
 * Of a screenshot. A cell has the colour that half of its pixels are darker than, so that text does not matter.
 * @param page any: what decodes the picture
 * @param cell 1 for a picture that is made of cells already
 */
export function surfacesOf(page: Page, png: Buffer, cell = CELL): Promise<Surfaces> {
  return page.evaluate(
    async ({ png, cell }) => {
      const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const { width, height } = bitmap;
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
      context.drawImage(bitmap, 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      const levels = new Uint8Array(cell * cell);
      const medianAt = (left: number, top: number, channel: number) => {
        for (let y = 0; y < cell; y++) {
          for (let x = 0; x < cell; x++) {
            levels[y * cell + x] = data[((top + y) * width + left + x) * 4 + channel] ?? 0;
          }
        }
        return levels.sort()[levels.length >> 1] ?? 0;
      };
      const colourAt = (x: number, y: number): [number, number, number] => [
        medianAt(x, y, 0),
        medianAt(x, y, 1),
        medianAt(x, y, 2),
      ];
      // What is left over at the edges is no cell.
      const rows = Array.from({ length: Math.floor(height / cell) }, (_, row) => row * cell);
      const columns = Array.from(
        { length: Math.floor(width / cell) },
        (_, column) => column * cell,
      );
      return rows.map((y) => columns.map((x) => colourAt(x, y)));
    },
    { png: png.toString("base64"), cell },
  );
}

/** A picture of them with a pixel for each cell. */
export async function pngOf(page: Page, surfaces: Surfaces): Promise<Buffer> {
  const png = await page.evaluate((rows) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [rows[0]?.length ?? 0, rows.length];
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    const pixels = rows.flat().flatMap((colour) => [...colour, 255]);
    context.putImageData(new ImageData(new Uint8ClampedArray(pixels), canvas.width), 0, 0);
    return canvas.toDataURL("image/png").replace(/^.*,/, "");
  }, surfaces);
  return Buffer.from(png, "base64");
}

/** The share of the cells, in percent, that one of the two has and the other one has not, there or near. */
export function difference(one: Surfaces, other: Surfaces): number {
  const strange = strangers(one, other) + strangers(other, one);
  return (100 * strange) / (one.flat().length + other.flat().length);
}

/** How many of the first one's cells are nowhere near in the other one. */
function strangers(one: Surfaces, other: Surfaces): number {
  const isNear = (colour: Colour, row: number, column: number) => {
    for (let y = row - REACH; y <= row + REACH; y++) {
      for (let x = column - REACH; x <= column + REACH; x++) {
        const found = other[y]?.[x];
        if (found?.every((level, at) => Math.abs(level - (colour[at] ?? 0)) <= TOLERANCE)) {
          return true;
        }
      }
    }
    return false;
  };
  const found = one.flatMap((cells, row) => cells.filter((colour, at) => !isNear(colour, row, at)));
  return found.length;
}
