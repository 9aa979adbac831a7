/** The look of the element, inside of its shadow root. A page sets its size, and what begins with --camwire. */
export const STYLE = `
:host { display: block; position: relative; overflow: hidden; aspect-ratio: 16 / 9; background: var(--camwire-background, #0b0d10); color: #f2f4f7; font: 14px/1.4 system-ui, sans-serif; color-scheme: dark; contain: content; }
:host([hidden]) { display: none; }
.stage { position: absolute; inset: 0; outline: none; touch-action: pan-x pan-y; }
.stage.close { touch-action: none; cursor: grab; }
.stage:focus-visible { outline: 2px solid #fff; outline-offset: -2px; }
.box { position: absolute; inset: 0; transform-origin: 0 0; }
.box > * { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: var(--fit, contain); opacity: 0; }
.box > [data-shown] { opacity: 1; }
.box:not([data-state='live']) > [data-shown] { filter: brightness(.45) saturate(.3); }
.note { position: absolute; inset: 0; display: grid; place-content: center; gap: 4px; padding: 12px; text-align: center; pointer-events: none; animation: appear .2s .5s both; }
.note[hidden], .bar[hidden] { display: none; }
.note span { color: #a9b3c0; overflow-wrap: anywhere; }
.bar { position: absolute; inset: auto 0 0; display: flex; align-items: center; gap: 4px; padding: 4px; background: linear-gradient(transparent, rgb(0 0 0 / 70%)); opacity: 0; transition: opacity .15s; }
:host(:hover) .bar, :host(:focus-within) .bar { opacity: 1; }
@media (hover: none) { .bar { opacity: 1; } }
.bar output { margin-inline-start: auto; padding-inline: 8px; font-variant-numeric: tabular-nums; white-space: nowrap; }
button { min-width: 44px; min-height: 44px; border: 0; border-radius: 6px; background: none; color: inherit; font: inherit; cursor: pointer; }
button:hover { background: rgb(255 255 255 / 15%); }
button:focus-visible { outline: 2px solid #fff; outline-offset: -2px; }
button[aria-pressed='true'] { font-weight: 600; text-decoration: underline; text-underline-offset: 4px; }
svg { width: 20px; height: 20px; fill: none; stroke: currentcolor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; vertical-align: middle; }
@keyframes appear { from { opacity: 0; } }
@media (prefers-reduced-motion: reduce) { .note { animation-duration: 0s; } .bar { transition: none; } }
`;
