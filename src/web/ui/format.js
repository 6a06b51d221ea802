// Figures as people read them.

import { words } from "./words.js";

/** @import { DiffLine } from "../../../tests/ui/types" */

const GIB = 2 ** 30;

/** @param {number | null | undefined} bytes */
export function gib(bytes) {
  if (bytes === null || bytes === undefined) return words.sparks.notTold;
  const value = bytes / GIB;
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} GiB`;
}

/**
 * `75` seconds as `1 min 15 s`.
 * @param {number} secs
 */
export function duration(secs) {
  const whole = Math.max(0, Math.round(secs));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600)
    return whole % 60 && whole < 600
      ? `${Math.floor(whole / 60)} min ${whole % 60} s`
      : `${Math.floor(whole / 60)} min`;
  const hours = Math.floor(whole / 3600);
  if (hours < 48) return `${hours} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(hours / 24)} days`;
}

/**
 * Today as a time, another day with its date.
 * @param {string | number} text
 */
export function clock(text, now = new Date()) {
  const at = new Date(text);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  if (at.toDateString() === now.toDateString()) return time;
  return `${at.toLocaleDateString([], { weekday: "short", day: "numeric", month: "short" })} ${at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`;
}

/** @param {string} text */
export function ago(text, now = Date.now()) {
  const secs = (now - new Date(text).getTime()) / 1000;
  if (secs < 0) return words.inFuture(duration(-secs));
  return secs < 3 ? words.just : words.ago(duration(secs));
}

/** Two texts of a thousand lines that have nothing in common; beyond it, what went and what came is all that is told. */
const MOST_CELLS = 1_000_000;

/** @type {(sign: string) => (line: string) => DiffLine} */
const signed = (sign) => (line) => [sign, line];

/**
 * Lines of a unified diff between two texts.
 * @param {string} before
 * @param {string} after
 * @returns {DiffLine[]}
 */
export function lineDiff(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const [x, y] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  if (x.length * y.length > MOST_CELLS) return [...x.map(signed("-")), ...y.map(signed("+"))];
  // What is common to both, longest first: files are small, and what differs in them smaller.
  const table = Array.from({ length: x.length + 1 }, () => new Uint16Array(y.length + 1));
  for (let i = x.length - 1; i >= 0; i -= 1)
    for (let j = y.length - 1; j >= 0; j -= 1)
      table[i][j] = x[i] === y[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const lines = a.slice(Math.max(0, start - 2), start).map(signed(" "));
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      lines.push([" ", x[i]]);
      i += 1;
      j += 1;
    } else if (i < x.length && (j >= y.length || table[i + 1][j] >= table[i][j + 1])) {
      lines.push(["-", x[i]]);
      i += 1;
    } else {
      lines.push(["+", y[j]]);
      j += 1;
    }
  }
  return lines.concat(a.slice(a.length - end, a.length - end + 2).map(signed(" ")));
}
