// Small pictures out of figures, as SVG. Each says in words what it shows.

import { html } from "./parts.js";

/**
 * Parts of a whole, side by side.
 * @param {{ whole: number, parts: { value: number, tone: string, name: string }[], label: string }} props
 */
export function Bar({ whole, parts, label }) {
  let x = 0;
  const rects = parts.map(({ value, tone, name }) => {
    const width = whole > 0 ? (100 * value) / whole : 0;
    const rect = html`<rect class=${`part ${tone}`} x=${x} y="0" width=${width} height="10"><title>${name}</title></rect>`;
    x += width;
    return rect;
  });
  return html`<svg class="bar" role="img" aria-label=${label} viewBox="0 0 100 10" preserveAspectRatio="none">${rects}</svg>`;
}

/**
 * A line over time.
 * @param {{ points: [ms: number, value: number][], max: number, label: string }} props
 */
export function Line({ points, max, label }) {
  if (points.length < 2) return null;
  const [from, to] = [points[0][0], points[points.length - 1][0]];
  /** @param {number} at */
  const x = (at) => (300 * (at - from)) / Math.max(1, to - from);
  /** @param {number} value */
  const y = (value) => 60 - (60 * value) / Math.max(1, max);
  const path = points
    .map(([at, value], index) => `${index ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`)
    .join("");
  return html`<svg class="line" role="img" aria-label=${label} viewBox="0 0 300 60" preserveAspectRatio="none">
    <path class="area" d=${`${path}L300 60L0 60Z`} /><path class="stroke" d=${path} />
  </svg>`;
}

/**
 * Columns, oldest first.
 * @param {{ values: number[], label: string, name: (value: number) => string }} props
 */
export function Columns({ values, label, name }) {
  const max = Math.max(1, ...values);
  const width = 12;
  return html`<svg class="columns" role="img" aria-label=${label} width=${values.length * (width + 4)} height="40">
    ${values.map((value, index) => {
      const height = Math.max(1, (38 * value) / max);
      return html`<rect class="part held0" x=${index * (width + 4)} y=${40 - height} width=${width} height=${height}><title>${name(value)}</title></rect>`;
    })}
  </svg>`;
}

/** @typedef {{ from: number, to: number, tone: string, name: string }} Stretch In milliseconds. */

/**
 * Stretches of time between two ends.
 * @param {{ from: number, to: number, stretches: Stretch[], now?: number | null, label: string }} props
 */
export function Stretches({ from, to, stretches, now, label }) {
  /** @param {number} at */
  const x = (at) => (1000 * (Math.min(Math.max(at, from), to) - from)) / (to - from);
  return html`<svg class="stretches" role="img" aria-label=${label} viewBox="0 0 1000 20" preserveAspectRatio="none">
    <rect class="ground" x="0" y="0" width="1000" height="20" />
    ${stretches
      .filter((one) => one.to > from && one.from < to)
      .map(
        (one) =>
          html`<rect class=${`part ${one.tone}`} x=${x(one.from)} y=${one.tone === "up" ? 12 : 0} width=${Math.max(1.5, x(one.to) - x(one.from))} height=${one.tone === "up" ? 8 : 20}><title>${one.name}</title></rect>`,
      )}
    ${now && html`<rect class="nowmark" x=${x(now)} y="0" width="2" height="20" />`}
  </svg>`;
}
