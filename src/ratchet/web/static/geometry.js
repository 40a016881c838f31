// @ts-check
// Which rows are in sight, and how high all others are together. Pure: no document.

/** Browsers cut elements off at 17 to 33 million pixels; above this, a pixel of the bar stands for more than one. */
const TALLEST = 12_000_000;
const BEYOND = 12;

export class Geometry {
  /** @param {number} total @param {number} row height of a row @param {number} head height of what sticks above them */
  constructor(total, row, head) {
    this.total = total;
    this.row = row;
    this.head = head;
  }

  /** Height of all rows, as far as it can be shown. */
  get height() {
    return Math.min(this.total * this.row, TALLEST);
  }

  /** Rows that fit below the head. @param {number} seen height of the scrolling element */
  fitting(seen) {
    return Math.max(1, (seen - this.head) / this.row);
  }

  /** The row, with its fraction, that stands right below the head. @param {number} scrolled @param {number} seen */
  topRow(scrolled, seen) {
    if (this.total * this.row <= TALLEST) return scrolled / this.row;
    const way = this.height - (seen - this.head);
    return Math.min(1, scrolled / way) * (this.total - this.fitting(seen));
  }

  /**
   * The rows to draw, and the heights of the gaps above and below them.
   * @param {number} scrolled @param {number} seen
   */
  window(scrolled, seen) {
    const top = this.topRow(scrolled, seen);
    const first = Math.min(Math.max(0, Math.floor(top) - BEYOND), this.total);
    const last = Math.min(this.total, Math.ceil(top + this.fitting(seen)) + BEYOND);
    const above = Math.max(0, scrolled - (top - first) * this.row);
    const below = Math.max(0, this.height - above - (last - first) * this.row);
    return { first, last, top: above, bottom: below };
  }

  /**
   * Where to scroll so that this row is in sight; where it is already, nothing moves.
   * @param {number} index @param {number} scrolled @param {number} seen
   */
  reveal(index, scrolled, seen) {
    const top = this.topRow(scrolled, seen);
    const fits = this.fitting(seen);
    if (index >= top - 0.01 && index + 1 <= top + fits + 0.01) return scrolled;
    const next = index < top ? index : index + 1 - fits;
    const wanted = Math.min(Math.max(0, next), Math.max(0, this.total - fits));
    if (this.total * this.row <= TALLEST) return wanted * this.row;
    return (wanted / (this.total - fits)) * (this.height - (seen - this.head));
  }
}
