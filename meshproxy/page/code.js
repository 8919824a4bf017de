// A QR code of a text, as one path of an SVG: dark on light whatever the colours of the page are, since that is what cameras look for.
import { html } from "./lib.js";
import { generate } from "./vendor/qr.js";

/** Light modules around it, as ISO/IEC 18004 asks for. */
const MARGIN = 4;

export function Qr({ text, label }) {
  const code = generate(text);
  const size = code.size + 2 * MARGIN;
  let path = "";
  for (let y = 0; y < code.size; y++) {
    for (let x = 0; x < code.size; x++) {
      if (!code.get(x, y)) continue;
      let width = 1;
      while (code.get(x + width, y)) width++;
      path += `M${x + MARGIN} ${y + MARGIN}h${width}v1h-${width}z`;
      x += width;
    }
  }
  return html`<svg class="qr" viewBox=${`0 0 ${size} ${size}`} role="img" aria-label=${label} shape-rendering="crispEdges">
    <rect width=${size} height=${size} class="light" /><path d=${path} class="dark" />
  </svg>`;
}
